"""What the benchmark of clusters indexes: altered Fashion-MNIST images, and clusters of them."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarking.real import BLOCK, FILES, SIDE, altered_images
from hashret.cluster.cluster_layout import Layout
from hashret.cluster.making import make_shard
from hashret.cluster.published import storage_at
from hashret.cluster.resharding import reshard
from hashret.sources.idx import read_idx

ROOT = Path(__file__).resolve().parents[2]
PLACES = (ROOT / "demo/data/fashion-mnist", Path("/usr/share/datasets/fashion-mnist"))


def source(folder: Path, n: int, seed: int = 0) -> Path:
    """A file of n altered images, with one of labels beside it; made once.

    A smaller one is the beginning of a larger one.
    """
    images = folder / f"altered-{n}-images-idx3-ubyte"
    labels = folder / f"altered-{n}-labels-idx1-ubyte"
    if images.exists() and labels.exists():
        return images
    folder.mkdir(parents=True, exist_ok=True)
    known, classes = _fashion("images").astype(np.float32) / 255, _fashion("labels")
    part = images.with_suffix(".part")
    with part.open("wb") as out:
        out.write(struct.pack(">4BIII", 0, 0, 8, 3, n, SIDE, SIDE))
        for start in range(0, n, BLOCK):
            rng = np.random.default_rng([seed, start // BLOCK])
            rows = altered_images(known, classes, BLOCK, rng)[: n - start]
            out.write(np.rint(rows * 255).astype(np.uint8).tobytes())
    numbers = (np.arange(n) * 7919 % 9973 % 10).astype(np.uint8)
    labels.write_bytes(struct.pack(">4BI", 0, 0, 8, 1, n) + numbers.tobytes())
    part.rename(images)
    return images


def queries() -> NDArray[np.uint8]:
    """The 10,000 test images, which are not altered and not indexed."""
    return _fashion("queries")


def images_of(path: Path) -> NDArray[Any]:
    """The images of a file that :func:`source` made, mapped."""
    return np.memmap(path, dtype=np.uint8, mode="r", offset=16).reshape(-1, SIDE, SIDE)


def _fashion(name: str) -> NDArray[np.uint8]:
    for place in PLACES:
        if (place / FILES[name]).exists():
            return read_idx(place / FILES[name])
    raise SystemExit("Fashion-MNIST is missing; scripts/get_fashion_mnist fetches it.")


def spread(cluster: Path, shards: int) -> Path:
    """The same items in another number of shards, beside the cluster; made once."""
    place = cluster.parent / f"{cluster.name}-in-{shards}"
    if not place.exists():
        part = place.with_name(f"{place.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(cluster, part)
        reshard(storage_at(part), shards)
        part.rename(place)
    return place


def empty(cluster: Path, place: Path) -> Layout:
    """A cluster of the same shards and encoder without items."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    shutil.copytree(cluster / "learned", place / "learned")
    storage, layout = storage_at(place), storage_at(cluster).layout()
    for folder in layout.folders():
        make_shard(storage, folder)
    storage.write_layout(layout)
    return layout
