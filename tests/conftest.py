"""Data small enough to learn from in a second or two, and indexes made from it once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cluster_fixtures import ray_cluster  # noqa: F401 - a fixture for several files
from PIL import Image
from search_oracle import WAYS, going
from sklearn.datasets import load_digits

import hashret

# For the command lines that tests start: as wide as the reference's, and nothing of the user's.
os.environ["COLUMNS"] = "100"
for name in ("HASHRET_INDEXES", "HASHRET_DEBUG", "NO_COLOR"):
    os.environ.pop(name, None)
os.environ["HASHRET_COSTS"] = ""  # and no costs of this machine, measured while tests run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
os.environ.setdefault("KERAS_HOME", os.devnull)  # or importing Keras leaves a file in the home


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """1,797 images of 8 x 8, uint8."""
    return (load_digits().images * (255 / 16)).round().astype(np.uint8)


@pytest.fixture(scope="session")
def digit_labels() -> np.ndarray:
    return load_digits().target.astype(np.uint8)


@pytest.fixture(scope="session")
def vectors() -> np.ndarray:
    """600 vectors of 12 dimensions around 20 centres, float32."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 12))
    points = centres[rng.integers(20, size=600)] + rng.normal(scale=0.2, size=(600, 12))
    return points.astype(np.float32)


@pytest.fixture(params=WAYS)
def way(request) -> str:
    """An engine and a plan that every search of a test takes."""
    with going(request.param):
        yield request.param


def write_idx(path: Path, array: np.ndarray) -> Path:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(head + array.tobytes())
    return path


@pytest.fixture(scope="session")
def idx_files(tmp_path_factory, digits, digit_labels) -> Path:
    """A folder with 300 digits to learn from and 50 others to ask for, with labels, as IDX."""
    folder = tmp_path_factory.mktemp("idx")
    for name, rows in (("train", slice(300)), ("test", slice(300, 350))):
        write_idx(folder / f"{name}-images-idx3-ubyte", digits[rows])
        write_idx(folder / f"{name}-labels-idx1-ubyte", digit_labels[rows])
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory, digits, digit_labels) -> Path:
    """100 digits as PNGs, in a sub-folder for each class."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(100):
        home = folder / str(digit_labels[number])
        home.mkdir(exist_ok=True)
        Image.fromarray(digits[number]).save(home / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def _trained(tmp_path_factory, idx_files, vectors, image_folder) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    sources = {
        "digits": (idx_files / "train-images-idx3-ubyte", 64, 200),
        "vectors": (vectors, 32, 3),
        "photos": (image_folder, 32, 3),
    }
    for name, (source, n_bits, epochs) in sources.items():
        hashret.create(folder / name, source, n_bits, epochs=epochs, random_state=0).close()
    return folder


@pytest.fixture(scope="session")
def prepared_encoder(tmp_path_factory) -> Path:
    """The encoder of the fault laboratory, learned once."""
    from faults.oracle import prepare

    folder = tmp_path_factory.mktemp("laboratory") / "encoder"
    prepare(folder)
    return folder


@pytest.fixture
def make_index(_trained, tmp_path) -> Callable[[str], Path]:
    """Copies an index to spoil at will: "digits" (64 bits), "vectors" (32), "photos" (32)."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(_trained / name, tmp_path / "indexes" / name))

    return copy


@pytest.fixture
def digits_index(make_index) -> hashret.Index:
    with hashret.open(make_index("digits")) as index:
        yield index


@pytest.fixture
def vectors_index(make_index) -> hashret.Index:
    with hashret.open(make_index("vectors")) as index:
        yield index


@pytest.fixture
def run(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Run the command line in a process of its own, in ``tmp_path``."""

    inherited = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}

    def start(*arguments, stdin: str = "", **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "hashret", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**inherited, **environment},
            timeout=300,
        )

    return start
