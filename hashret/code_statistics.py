"""How well a set of codes uses its bits, and how it fills a hash table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, as_codes, unpack
from hashret.errors import InputError

BLOCK_ROWS = 65536


@dataclass(frozen=True)
class CodeStatistics:
    """What codes look like as a whole.

    Attributes:
        codes: how many there are.
        buckets: distinct codes.
        mean_sharing: the other items in an item's bucket, mean over the items.
        largest: items in the fullest bucket.
        bit_entropy: mean entropy of a single bit over the items, in bits: 1 where ones and zeros
            are equally frequent.
        lowest_bit_entropy: that of the bit that tells least.
        bit_correlation: mean absolute correlation of two bits; 0 for bits that never vary.
        largest_bit_correlation: that of the two bits that tell most of each other.
    """

    codes: int
    buckets: int
    mean_sharing: float
    largest: int
    bit_entropy: float
    lowest_bit_entropy: float
    bit_correlation: float
    largest_bit_correlation: float


def code_statistics(codes: Codes, bit_rows: int | None = None) -> CodeStatistics:
    """Describe codes.

    Args:
        codes: ``uint8``, shape ``(n, n_bits / 8)``.
        bit_rows: at most about so many of them, evenly spaced, tell of the bits, whose correlation
            takes ``n * n_bits ** 2`` steps; None for all.

    Raises:
        InputError: no codes.

    Example:
        >>> code_statistics(np.array([[0], [0], [255]], dtype=np.uint8)).largest
        2
    """
    sizes = bucket_sizes(codes)
    n = int(sizes.sum())
    step = 1 if bit_rows is None else -(-n // bit_rows)
    shares, correlations = bit_moments(codes[::step])
    entropies = _entropy(shares)
    pairs = np.abs(correlations[np.triu_indices(len(correlations), 1)])
    return CodeStatistics(
        codes=n,
        buckets=len(sizes),
        mean_sharing=float((sizes.astype(np.float64) * (sizes - 1)).sum() / n),
        largest=int(sizes.max()),
        bit_entropy=float(entropies.mean()),
        lowest_bit_entropy=float(entropies.min()),
        bit_correlation=float(pairs.mean()),
        largest_bit_correlation=float(pairs.max()),
    )


def bucket_sizes(codes: Codes) -> NDArray[np.int64]:
    """How many of the codes ``(n, n_bits / 8)`` lie in each bucket: one number a distinct code.

    Raises:
        InputError: no codes.
    """
    codes = _some(codes)
    # As one opaque value a code, which sorts many times faster than rows of bytes.
    rows = codes.view(np.dtype((np.void, codes.shape[1])))[:, 0]
    return np.unique(rows, return_counts=True)[1].astype(np.int64)


def bit_moments(codes: Codes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The share of ones of each bit, and the correlation of every two bits.

    Args:
        codes: ``uint8``, shape ``(n, n_bits / 8)``.

    Returns:
        Shapes ``(n_bits,)`` and ``(n_bits, n_bits)``. A bit that never varies correlates with
        nothing, itself included.

    Raises:
        InputError: no codes.
    """
    codes = _some(codes)
    n_bits = codes.shape[1] * 8
    together = np.zeros((n_bits, n_bits))
    for start in range(0, len(codes), BLOCK_ROWS):
        # Counts of a block are whole numbers below 2**24: float32 holds them exactly.
        bits = unpack(codes[start : start + BLOCK_ROWS]).astype(np.float32)
        together += bits.T @ bits
    shares = np.diagonal(together) / len(codes)
    covariance = together / len(codes) - np.outer(shares, shares)
    deviation = np.sqrt(shares * (1 - shares))
    scale = np.outer(deviation, deviation)
    correlation = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    return shares, np.clip(correlation, -1, 1)


def _some(codes: Codes) -> Codes:
    codes = as_codes(codes)
    if not len(codes):
        raise InputError("Expected at least one code, got none.")
    return codes


def _entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    both = np.stack([shares, 1 - shares])
    entropies: NDArray[np.float64] = (both * np.log2(np.where(both > 0, both, 1))).sum(axis=0)
    return np.abs(entropies)  # a bit that never changes has 0, not -0
