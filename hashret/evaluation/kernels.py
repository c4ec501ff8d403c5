"""Compiled loops over queries and codes, for the measures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

# The counting of bits of Warren, "Hacker's Delight", section 5-1: compilers know it as popcount.
_PAIRS = np.uint64(0x5555555555555555)
_NIBBLES = np.uint64(0x3333333333333333)
_BYTES = np.uint64(0x0F0F0F0F0F0F0F0F)
_SUM = np.uint64(0x0101010101010101)
_ONE, _TWO, _FOUR, _TOP = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)


def _kept(function: Any) -> Any:
    """Compile for two threads, and keep what was compiled where a folder can be written to."""
    try:
        return njit(parallel=True, nogil=True, cache=True)(function)
    except RuntimeError:  # numba found no such folder
        return njit(parallel=True, nogil=True)(function)


@njit(inline="always")
def _bit_count(word: np.uint64) -> np.uint64:
    word -= (word >> _ONE) & _PAIRS
    word = (word & _NIBBLES) + ((word >> _TWO) & _NIBBLES)
    word = (word + (word >> _FOUR)) & _BYTES
    return (word * _SUM) >> _TOP


@_kept
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
