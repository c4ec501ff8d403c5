"""Code sets by name, the same every time for one seed, cached on disk and opened mapped.

- ``uniform``: random bits.
- ``clustered``: random centres, one for 50 codes, with each bit flipped with probability 0.03.
- ``real``: what a trained encoder makes of images; see :mod:`benchmarking.real`.
- ``latent-0.20``: signs of a linear factor model whose bits correlate, in size, by 0.20 on average.

The queries of real codes are those of unseen images; of the others, codes with 2 % of the bits
flipped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from benchmarking import real

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "demo/data/codes"
KINDS = ("uniform", "clustered", "real")

CODES_PER_CENTRE = 50
CENTRE_FLIPS = 0.03
QUERY_FLIPS = 0.02
BLOCK = 1_000_000

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def make_codes(kind: str, n: int, n_bits: int, seed: int = 0) -> NDArray[np.uint8]:
    """Codes of one kind, ``uint8 (n, n_bits / 8)``, mapped read-only from a file."""
    if kind == "real":
        return real.codes(FOLDER, n, n_bits, seed)
    file = FOLDER / f"{kind}-{n_bits}-{n}-{seed}.npy"
    if not file.exists():
        print(f"making {n:,} {kind} codes of {n_bits} bits", file=sys.stderr, flush=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".part")
        shape = (n, n_bits // 8)
        out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for start in range(0, n, BLOCK):
            out[start : start + BLOCK] = _block(kind, start, min(n - start, BLOCK), n, n_bits, seed)
        out.flush()
        partial.rename(file)
    return np.load(file, mmap_mode="r")


def make_queries(
    kind: str, codes: NDArray[np.uint8], n_queries: int, seed: int = 0
) -> NDArray[np.uint8]:
    """Queries for such codes: those of unseen images, or codes with 2 % of the bits flipped."""
    rng = np.random.default_rng([seed, 1])
    n_bits = codes.shape[1] * 8
    if kind == "real":
        unseen = real.queries(FOLDER, n_bits, seed)
        return unseen[rng.permutation(len(unseen))[np.arange(n_queries) % len(unseen)]]
    queries = np.array(codes[rng.integers(0, len(codes), n_queries)])
    queries ^= np.packbits(rng.random((n_queries, n_bits)) < QUERY_FLIPS, axis=1)
    return queries


def bit_correlation(codes: NDArray[np.uint8], sample: int = 100_000) -> float:
    """Mean absolute correlation of two different bits, over a sample of the codes."""
    rows = np.random.default_rng(0).integers(0, len(codes), min(sample, len(codes)))
    bits = np.unpackbits(codes[rows], axis=1).astype(np.float32)
    bits -= bits.mean(axis=0)
    deviations = np.maximum(bits.std(axis=0), 1e-6)
    correlations = bits.T @ bits / len(bits) / np.outer(deviations, deviations)
    others = ~np.eye(len(correlations), dtype=bool)
    return float(np.abs(correlations[others]).mean())


def unique_codes(codes: NDArray[np.uint8]) -> int:
    """The number of different codes."""
    columns = np.ascontiguousarray(codes)
    if codes.shape[1] == 8:
        return len(np.unique(columns.view(np.uint64)))
    return len(np.unique(columns.view(f"V{codes.shape[1]}")))


def _block(kind: str, start: int, size: int, n: int, n_bits: int, seed: int) -> NDArray[np.uint8]:
    """A block of a code set; it depends on the numbers given and nothing else."""
    if kind == "clustered":
        # A whole number of words; codes of other lengths lose the end of the last.
        words = np.empty((size, -(-n_bits // 64)), dtype=np.uint64)
        centres = max(1, n // CODES_PER_CENTRE)
        _clustered(start, centres, np.uint64(round(CENTRE_FLIPS * 2**16)), np.uint64(seed), words)
        return words.view(np.uint8)[:, : n_bits // 8]
    rng = np.random.default_rng([seed, start // BLOCK])
    if kind == "uniform":
        return rng.integers(0, 256, (size, n_bits // 8), dtype=np.uint8)
    if kind.startswith("latent-"):
        factors = _factors(float(kind.removeprefix("latent-")), n_bits, seed)
        return _latent(size, factors, rng)
    raise SystemExit(f"There are no codes called {kind!r}.")


def _factors(correlation: float, n_bits: int, seed: int) -> NDArray[np.float32]:
    """Weights of as many factors as can make the bits correlate by so much on average."""
    for n_factors in (16, 8, 4, 2):
        factors = np.random.default_rng([seed, 2]).standard_normal((n_factors, n_bits))
        factors /= np.linalg.norm(factors, axis=0)
        alike = (factors.T @ factors)[~np.eye(n_bits, dtype=bool)]
        shares = np.linspace(0, 0.95, 200)
        # Two normal variables of correlation c have signs of correlation 2 / pi * arcsin(c).
        means = [np.abs(2 / np.pi * np.arcsin(share * alike)).mean() for share in shares]
        if correlation <= means[-1]:
            return (factors * np.sqrt(np.interp(correlation, means, shares))).astype(np.float32)
    raise SystemExit(f"Bits of a latent model correlate by {means[-1]:.2f} at most.")


def _latent(size: int, factors: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Signs of what normal factors, and normal noise of its own, make of each bit."""
    n_factors, n_bits = factors.shape
    own = np.sqrt(1 - np.square(factors).sum(axis=0))
    codes = np.empty((size, n_bits // 8), dtype=np.uint8)
    for start in range(0, size, 100_000):
        m = min(size - start, 100_000)
        values = rng.standard_normal((m, n_factors), dtype=np.float32) @ factors
        values += rng.standard_normal((m, n_bits), dtype=np.float32) * own
        codes[start : start + m] = np.packbits(values > 0, axis=1)
    return codes


@njit(cache=True)
def _random(seed, i, j):  # noqa: ANN001, ANN202
    """64 random bits that belong to three numbers (SplitMix64, twice)."""
    x = (seed + np.uint64(1)) * _MIX_1 + (np.uint64(i) + np.uint64(1)) * _STEP
    for _ in range(2):
        x = (x ^ (x >> np.uint64(30))) * _MIX_1
        x = (x ^ (x >> np.uint64(27))) * _MIX_2
        x = (x ^ (x >> np.uint64(31))) + (np.uint64(j) + np.uint64(1)) * _STEP
    return x


@njit(parallel=True, cache=True)
def _clustered(start, centres, flips, seed, out):  # noqa: ANN001, ANN202
    """Fill ``out`` with words of codes near their centres; ``flips`` is in parts of 2**16."""
    for i in prange(len(out)):
        row = start + i
        centre = _random(seed, row, 1) % np.uint64(centres)
        for w in range(out.shape[1]):
            word = _random(seed, centre, 2 + w)
            for part in range(16):
                chance = _random(seed, row, 1000 + 16 * w + part)
                for k in range(4):
                    if (chance >> np.uint64(16 * k)) & np.uint64(0xFFFF) < flips:
                        word ^= np.uint64(1) << np.uint64(4 * part + k)
            out[i, w] = word
