"""Packed binary codes: pack, unpack, Hamming distance, hexadecimal text, flipped bits.

A code is a row of ``n_bits / 8`` bytes, ``uint8``; bit 0 is the most significant bit of byte 0,
as ``numpy.packbits`` lays bits out. Several codes are a C-contiguous ``(n, n_bits / 8)`` array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.errors import InputError, UsageError

Codes: TypeAlias = NDArray[np.uint8]

MIN_BITS = 8
MAX_BITS = 1024


def check_n_bits(n_bits: object) -> int:
    """Return ``n_bits`` as an int when it is a possible code length.

    Raises:
        UsageError: ``n_bits`` is not a multiple of 8 from 8 to 1024.
    """
    if (
        isinstance(n_bits, bool)
        or not isinstance(n_bits, int | np.integer)
        or not MIN_BITS <= n_bits <= MAX_BITS
        or n_bits % 8
    ):
        raise UsageError(
            f"n_bits must be a multiple of 8 from {MIN_BITS} to {MAX_BITS}, not {n_bits!r}."
        )
    return int(n_bits)


def pack(bits: ArrayLike) -> Codes:
    """Pack bits into codes.

    Args:
        bits: shape ``(..., n_bits)``; anything truthy is a 1. ``n_bits`` is a multiple of 8.

    Returns:
        ``uint8`` codes of shape ``(..., n_bits / 8)``.

    Raises:
        UsageError: the last axis is not a possible code length.

    Example:
        >>> pack([[1, 0, 0, 0, 0, 0, 0, 1]])
        array([[129]], dtype=uint8)
    """
    array = np.asarray(bits)
    check_n_bits(array.shape[-1] if array.ndim else 0)
    return np.packbits(array.astype(bool, copy=False), axis=-1)


def unpack(codes: ArrayLike) -> NDArray[np.uint8]:
    """Unpack codes into bits, the inverse of :func:`pack`.

    Args:
        codes: ``uint8``, shape ``(..., n_bits / 8)``.

    Returns:
        ``uint8`` zeros and ones of shape ``(..., n_bits)``.
    """
    return np.unpackbits(np.asarray(codes, dtype=np.uint8), axis=-1)


def hamming(a: ArrayLike, b: ArrayLike) -> NDArray[np.int32]:
    """Hamming distances in bits between codes, broadcast over the leading axes.

    Args:
        a: ``uint8``, shape ``(..., n_bits / 8)``.
        b: the same, broadcastable against ``a``.

    Returns:
        ``int32`` distances of the broadcast leading shape.

    Example:
        >>> int(hamming(from_hex("00ff"), from_hex("00f0")))
        4
    """
    differing = np.bitwise_xor(np.asarray(a, dtype=np.uint8), np.asarray(b, dtype=np.uint8))
    distances: NDArray[np.int32] = np.bitwise_count(differing).sum(axis=-1, dtype=np.int32)
    return distances


def flip(code: ArrayLike, positions: ArrayLike) -> Codes:
    """Return a copy of one code with the bits at ``positions`` (0 to n_bits - 1) flipped.

    Example:
        >>> to_hex(flip(from_hex("00ff"), [0, 15]))
        '80fe'
    """
    bits = unpack(code)
    bits[np.asarray(positions, dtype=np.intp)] ^= 1
    return np.packbits(bits, axis=-1)


def differing_bits(a: ArrayLike, b: ArrayLike) -> list[int]:
    """Positions, ascending, of the bits in which two codes differ."""
    one, other = (np.asarray(code, dtype=np.uint8).tobytes() for code in (a, b))
    if len(one) != len(other):
        raise UsageError(
            f"Codes of {len(one) * 8} and of {len(other) * 8} bits cannot be compared."
        )
    left = int.from_bytes(one) ^ int.from_bytes(other)
    last = len(one) * 8 - 1
    positions = []
    while left:  # a few of many bits: quicker than to look at each
        lowest = left & -left
        positions.append(last - lowest.bit_length() + 1)
        left ^= lowest
    return positions[::-1]


def to_hex(code: ArrayLike) -> str:
    """One code as lower-case hexadecimal text, two digits a byte."""
    return np.asarray(code, dtype=np.uint8).tobytes().hex()


def from_hex(text: str, n_bits: int | None = None) -> Codes:
    """Read one code from hexadecimal text.

    Args:
        text: two digits a byte; white space around it is ignored.
        n_bits: the length that is expected, if any.

    Returns:
        ``uint8`` of shape ``(n_bits / 8,)``.

    Raises:
        InputError: the text is not hexadecimal or has another length.
    """
    try:
        code = np.frombuffer(bytes.fromhex(text.strip()), dtype=np.uint8).copy()
    except ValueError as error:
        raise InputError(
            f"A code is written in hexadecimal, two digits a byte; got {text!r}."
        ) from error
    if not len(code) or (n_bits is not None and code.size * 8 != n_bits):
        raise InputError(
            f"Expected a code of {n_bits or 'at least 8'} bits"
            f"{f' ({n_bits // 4} hexadecimal digits)' if n_bits else ''}, got {text!r} of "
            f"{code.size * 8} bits."
        )
    return code


def as_codes(codes: ArrayLike, n_bits: int | None = None) -> Codes:
    """Validate an array of codes, without a copy where it already fits.

    Args:
        codes: ``uint8``, shape ``(n, n_bits / 8)``; a single code of shape ``(n_bits / 8,)``
            becomes one row.
        n_bits: the length that is expected, if any.

    Returns:
        ``uint8``, C-contiguous, shape ``(n, n_bits / 8)``.

    Raises:
        InputError: another dtype, number of dimensions or length.
    """
    array = np.asarray(codes)
    if array.dtype != np.uint8:
        raise InputError(
            f"Codes are packed bits of dtype uint8, got {array.dtype}; hashret.codes.pack packs "
            "an array of bits."
        )
    if array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2:
        raise InputError(f"Codes have the shape (n, n_bits / 8), got {array.shape}.")
    if n_bits is not None and array.shape[1] * 8 != n_bits:
        raise InputError(f"Expected codes of {n_bits} bits, got {array.shape[1] * 8} bits.")
    check_n_bits(array.shape[1] * 8)
    return np.ascontiguousarray(array)


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
