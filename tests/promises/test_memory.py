"""What an index takes of the memory while it is made: no more for more items, or larger ones."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

_MADE = """
import json, sys
import hashret
from hashret.index import encoding
from hashret.encoder.baselines import RandomHyperplanes
from hashret.progress import peak_memory
from hashret.store import connection

connection.WRITE_CACHE_KIB = 4 << 10
encoding.CHUNK_BYTES = 4 << 20
encoding.SHAPE_ITEMS = encoding.TRAINING_ITEMS = 200
options = json.loads(sys.argv[1])

def made(path):
    hasher = RandomHyperplanes(n_bits=16, random_state=0)
    with hashret.create(f"{path}.index", path, hasher=hasher, **options) as index:
        assert len(index) == int(path.rpartition("-")[2].partition(".")[0])

made(sys.argv[2])
before = peak_memory()
made(sys.argv[3])
print((peak_memory() - before) >> 20)
"""

WIDTH = 2048
RANDOM = np.random.default_rng(0).random((500, WIDTH), dtype=np.float32)


def image_folder(path, count):
    path.mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
    Image.fromarray(picture).save(path / "0.png", compress_level=0)
    for number in range(1, count):
        os.link(path / "0.png", path / f"{number}.png")


def long_fields(path, count):
    page = "<p>some words</p>" * 60_000
    with path.open("w") as file:
        for n in range(count):
            file.write(json.dumps({"id": n, "title": f"title number {n}", "page": page}) + "\n")


def one_row_group(path, count):
    schema = pa.schema({"v": pa.list_(pa.float32(), WIDTH)})
    flat = pa.array(np.resize(RANDOM, count * WIDTH))
    table = pa.table({"v": pa.FixedSizeListArray.from_arrays(flat, WIDTH)}, schema=schema)
    parquet.write_table(table, path, row_group_size=count, use_dictionary=False)


def hdf5(path, count):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("X", (count, WIDTH), "f4", chunks=(500, WIDTH))
        for start in range(0, count, 500):
            data[start : start + 500] = RANDOM[: count - start]


@pytest.mark.parametrize(
    ("write", "suffix", "few", "many", "options"),
    [
        (image_folder, "", 20, 200, {}),
        (long_fields, ".jsonl", 20, 200, {"column": "title", "features": "counts"}),
        (one_row_group, ".parquet", 1500, 24_000, {}),
        (hdf5, ".h5", 1500, 24_000, {}),
    ],
)
def test_the_memory_of_making_an_index_is_bounded(tmp_path, write, suffix, few, many, options):
    paths = [tmp_path / f"items-{count}{suffix}" for count in (few, many)]
    for path, count in zip(paths, (few, many), strict=True):
        write(path, count)
    size = sum(one.stat().st_size for one in [*paths[1].glob("*"), paths[1]])
    assert size > 187 << 20
    out = subprocess.run(
        [sys.executable, "-c", _MADE, json.dumps(options), *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    assert int(out.stdout) < (size >> 20) // 2


_DECODED = """
import pathlib, sys
from hashret.features import ImageFeatures
from hashret.progress import peak_memory

features = ImageFeatures(32, 32, 1)
before = [features.matrix([pathlib.Path(sys.argv[1]).read_bytes()]), peak_memory()][1]
matrix, failures = features.matrix([pathlib.Path(sys.argv[2]).read_bytes()])
print(len(matrix), (peak_memory() - before) >> 20)
"""


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_picture_of_deep_pixels_takes_little_more_than_its_pixels(tmp_path, dtype):
    paths = []
    for side in (100, 6000):
        paths.append(tmp_path / f"{side}.tif")
        Image.fromarray(np.ones((side, side), dtype)).save(paths[-1], compression="tiff_deflate")
    out = subprocess.run(
        [sys.executable, "-c", _DECODED, *paths], capture_output=True, text=True, check=True
    )
    n_rows, megabytes = map(int, out.stdout.split())
    assert n_rows == 1
    assert megabytes < 9 * 36


_OPENED = """
import sys
from hashret.sources import open_source
from hashret.progress import peak_memory

open_source(sys.argv[1])
before = peak_memory()
source = open_source(sys.argv[2])
print(source.length, (peak_memory() - before) >> 20)
"""


def test_mapped_vectors_are_not_held_because_their_lengths_were_compared(tmp_path):
    paths = []
    for count in (8, 20_000):
        paths.append(tmp_path / f"{count}.fvecs")
        rows = np.zeros((100, 1 + WIDTH), "<i4")
        rows[:, 0] = WIDTH
        with paths[-1].open("wb") as file:
            for start in range(0, count, 100):
                file.write(rows[: count - start].tobytes())
    out = subprocess.run(
        [sys.executable, "-c", _OPENED, *paths], capture_output=True, text=True, check=True
    )
    length, megabytes = map(int, out.stdout.split())
    assert length == 20_000
    assert megabytes < 64
