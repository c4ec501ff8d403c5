"""Codes as a trained encoder makes them: millions of altered Fashion-MNIST images.

A :class:`~hashret.encoder.SemanticHasher` learns from the 60,000 training images and encodes
10,000,000 images made of them: shifted, turned, scaled, brightened, mixed with another image, and
strewn with noise. Its queries are the codes of the 10,000 test images, which are not altered.

Made in blocks that depend on nothing but the seed and their own number; an interrupted run goes on
where it stopped, and a smaller set is the beginning of a larger one.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hashret.encoder import SemanticHasher

MAX_SIZE = 10_000_000
BLOCK = 50_000
SIDE = 28
NOISE = 1 << 20
IMAGE_FOLDERS = ("fashion-mnist", "/usr/share/datasets/fashion-mnist")
FILES = {
    "images": "train-images-idx3-ubyte.gz",
    "labels": "train-labels-idx1-ubyte.gz",
    "queries": "t10k-images-idx3-ubyte.gz",
}


def codes(folder: Path, n: int, n_bits: int, seed: int = 0) -> NDArray[np.uint8]:
    """The first ``n`` codes, mapped from a file that is made as far as needed."""
    if n > MAX_SIZE:
        raise SystemExit(f"There are {MAX_SIZE:,} real codes at most, not {n:,}.")
    stem = f"real-{n_bits}-{seed}"
    whole, part, counter = (folder / f"{stem}{end}" for end in (".npy", ".part", ".json"))
    if not whole.exists():
        done = json.loads(counter.read_text())["rows"] if counter.exists() and part.exists() else 0
        if done < n:
            _extend(folder, part, counter, n, n_bits, seed)
        if n < MAX_SIZE:
            return np.load(part, mmap_mode="r")[:n]
        part.rename(whole)
    return np.load(whole, mmap_mode="r")[:n]


def queries(folder: Path, n_bits: int, seed: int = 0) -> NDArray[np.uint8]:
    """The codes of the 10,000 test images."""
    file = folder / f"real-queries-{n_bits}-{seed}.npy"
    if not file.exists():
        images = _rows(_load(folder, "queries"))
        np.save(file, hasher(folder, n_bits, seed).transform(images))
    return np.load(file)


def hasher(folder: Path, n_bits: int, seed: int = 0) -> SemanticHasher:
    """The encoder, which learns once and is read from its folder afterwards."""
    from hashret.encoder import SemanticHasher

    place = folder / f"hasher-{n_bits}-{seed}"
    if not place.exists():
        _say(f"learning {n_bits} bits")
        learned = SemanticHasher(n_bits=n_bits, random_state=seed)
        learned.fit(_rows(_load(folder, "images")))
        partial = place.with_suffix(".part")
        partial.mkdir(exist_ok=True)
        learned.save(partial)
        partial.rename(place)
    return SemanticHasher.load(place)


def altered_images(
    images: NDArray[np.float32], labels: NDArray[Any], n: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Make ``n`` images of those given, as rows of pixels from 0 to 1.

    Half of them come from one image, a quarter from two of one class and a quarter from any two,
    mixed 7 to 3.
    """
    first = rng.integers(0, len(images), n)
    by_class = np.argsort(labels, kind="stable")
    start = np.searchsorted(labels[by_class], labels[first])
    size = np.bincount(labels)[labels[first]]
    same_class = by_class[start + (rng.random(n) * size).astype(np.int64)]
    mix = rng.integers(0, 4, n)
    second = np.where(mix == 0, same_class, rng.integers(0, len(images), n))
    share = np.where(mix < 2, 0.3, 0.0)
    angle, scale = np.radians(rng.uniform(-10, 10, n)), rng.uniform(0.9, 1.1, n)
    shift = rng.uniform(-2, 2, (n, 2))
    turn = np.column_stack([np.cos(angle) / scale, np.sin(angle) / scale, shift])
    brightness, noise = rng.uniform(0.8, 1.2, n), rng.uniform(0, 0.06, n)
    look = np.column_stack([share, brightness, noise]).astype(np.float32)
    grain = rng.standard_normal(NOISE + SIDE * SIDE, dtype=np.float32)
    offsets = rng.integers(0, NOISE, n)
    out = np.empty((n, SIDE * SIDE), dtype=np.float32)
    _alter(images, first, second, turn.astype(np.float32), look, grain, offsets, out)
    return out


@njit(parallel=True, cache=True, fastmath=True)
def _alter(images, first, second, turn, look, grain, offsets, out):  # noqa: ANN001, ANN202
    """Sample each output pixel from the turned, scaled and shifted place in the source images."""
    middle = np.float32((SIDE - 1) / 2)
    for i in prange(len(out)):
        cos, sin, shift_y, shift_x = turn[i]
        share, brightness, noise = look[i]
        a, b = images[first[i]], images[second[i]]
        for pixel in range(SIDE * SIDE):
            y, x = pixel // SIDE - middle, pixel % SIDE - middle
            v = cos * y - sin * x + middle + shift_y
            u = sin * y + cos * x + middle + shift_x
            value = np.float32(0)
            row, column = math.floor(v), math.floor(u)
            for dy in range(2):
                for dx in range(2):
                    r, c = row + dy, column + dx
                    if 0 <= r < SIDE and 0 <= c < SIDE:
                        weight = (1 - abs(v - r)) * (1 - abs(u - c))
                        value += weight * ((1 - share) * a[r, c] + share * b[r, c])
            value = value * brightness + noise * grain[offsets[i] + pixel]
            out[i, pixel] = min(max(value, np.float32(0)), np.float32(1))


def _extend(folder: Path, part: Path, counter: Path, n: int, n_bits: int, seed: int) -> None:
    """Encode further blocks into the file until ``n`` codes are there."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = hasher(folder, n_bits, seed)
    state = json.loads(counter.read_text()) if counter.exists() and part.exists() else {}
    if state.get("encoder") != encoder.fingerprint_:
        state = {"encoder": encoder.fingerprint_, "rows": 0, "seconds": 0.0}
        shape = (MAX_SIZE, n_bits // 8)
        np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
    out = np.load(part, mmap_mode="r+")
    images = _load(folder, "images").astype(np.float32) / 255
    labels = _load(folder, "labels")
    while state["rows"] < n:
        started = perf_counter()
        start = state["rows"]
        rng = np.random.default_rng([seed, start // BLOCK])
        block = encoder.transform(altered_images(images, labels, BLOCK, rng))
        out[start : start + BLOCK] = block
        out.flush()
        state["rows"] += BLOCK
        state["seconds"] += perf_counter() - started
        fresh = counter.with_suffix(".json.part")
        fresh.write_text(json.dumps(state))
        fresh.rename(counter)
        _say(f"{state['rows']:,} real codes, {state['rows'] / state['seconds']:,.0f} a second")


def _load(folder: Path, name: str) -> NDArray[np.uint8]:
    from hashret.sources.idx import read_idx

    for place in IMAGE_FOLDERS:
        file = folder.parent / place / FILES[name]
        if file.exists():
            return read_idx(file)
    raise SystemExit("Fashion-MNIST is missing; scripts/get_fashion_mnist fetches it.")


def _rows(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
