"""Compiled loops over queries and codes, for the measures."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

# The counting of bits of Warren, "Hacker's Delight", section 5-1: compilers know it as popcount.
_PAIRS = np.uint64(0x5555555555555555)
_NIBBLES = np.uint64(0x3333333333333333)
_BYTES = np.uint64(0x0F0F0F0F0F0F0F0F)
_SUM = np.uint64(0x0101010101010101)
_ONE, _TWO, _FOUR, _TOP = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)


@njit(inline="always")
def _bit_count(word: np.uint64) -> np.uint64:
    word -= (word >> _ONE) & _PAIRS
    word = (word & _NIBBLES) + ((word >> _TWO) & _NIBBLES)
    word = (word + (word >> _FOUR)) & _BYTES
    return (word * _SUM) >> _TOP


@njit(parallel=True, nogil=True)
def count_by_distance(
    queries: NDArray[np.uint64],
    database: NDArray[np.uint64],
    query_labels: NDArray[np.int64],
    labels: NDArray[np.int64],
    own_rows: NDArray[np.int64],
    n_bits: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Count, for each query and distance, the items and the relevant items.

    Args:
        queries: codes as words, shape ``(n_queries, n_words)``.
        database: codes as words, shape ``(n, n_words)``.
        query_labels: shape ``(n_queries,)``.
        labels: shape ``(n,)``; an item is relevant where it has the query's label.
        own_rows: the database row that each query leaves out, -1 for none.
        n_bits: the largest distance.

    Returns:
        Two ``int32`` arrays of shape ``(n_queries, n_bits + 1)``.
    """
    items = np.zeros((len(queries), n_bits + 1), dtype=np.int32)
    relevant = np.zeros((len(queries), n_bits + 1), dtype=np.int32)
    for q in prange(len(queries)):
        for row in range(len(database)):
            if row == own_rows[q]:
                continue
            distance = np.uint64(0)
            for word in range(database.shape[1]):
                distance += _bit_count(queries[q, word] ^ database[row, word])
            items[q, distance] += 1
            if labels[row] == query_labels[q]:
                relevant[q, distance] += 1
    return items, relevant


@njit(parallel=True, nogil=True)
def expected_average_precision(
    items: NDArray[np.int32], relevant: NDArray[np.int32], k: int
) -> NDArray[np.float64]:
    """Average precision at ``k`` of each query, the mean over all orders of tied items.

    At place ``j`` of a ring of ``size`` items, ``hits`` of them relevant, an item is relevant with
    probability ``hits / size``; given that it is, the ``j - 1`` places before it hold
    ``(j - 1) * (hits - 1) / (size - 1)`` relevant items on average.

    Args:
        items: items by distance, shape ``(n_queries, n_distances)``.
        relevant: relevant items by distance, the same shape.
        k: the places that count.
    """
    result = np.zeros(len(items))
    for q in prange(len(items)):
        total, place, found = 0, 0, 0
        for distance in range(items.shape[1]):
            size, hits = items[q, distance], relevant[q, distance]
            total += hits
            if hits:
                slope = (hits - 1) / (size - 1) if size > 1 else 0.0
                precision = 0.0
                for j in range(1, min(size, k - place) + 1):
                    precision += (found + 1 + (j - 1) * slope) / (place + j)
                result[q] += precision * hits / size
            place += size
            found += hits
        if total:
            result[q] /= min(total, k)
    return result
