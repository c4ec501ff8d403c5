"""Compiled: keep hits in order. A hit is a ``uint64``: distance << 52 | row (see ``found``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from hashret.search.compiling import kernel

Hits = NDArray[np.uint64]

ROW_BITS = np.uint64(52)
ROW_MASK = np.uint64((1 << 52) - 1)
FEW = 64
"""So many hits are sorted in place."""
DIGITS = 1 << 12
_NARROW, _WIDE, _MANY = np.uint64(8), np.uint64(12), 1 << 13
_ONE = np.uint64(1)


@kernel()
def push(heaps: Any, q: int, size: int, hit: np.uint64) -> Any:
    """Take a hit into heap q, which holds the least ones and has the greatest on top; its new size.

    A full heap drops its greatest, or the hit if that is none of the least.
    """
    if size < heaps.shape[1]:
        place = size
        while place > 0 and heaps[q, (place - 1) >> 1] < hit:
            heaps[q, place] = heaps[q, (place - 1) >> 1]
            place = (place - 1) >> 1
        heaps[q, place] = hit
        return size + 1
    if hit >= heaps[q, 0]:
        return size
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heaps[q, child + 1] > heaps[q, child]:
            child += 1
        if heaps[q, child] <= hit:
            break
        heaps[q, place] = heaps[q, child]
        place = child
    heaps[q, place] = hit
    return size


@kernel()
def sort_hits(hits: Any, start: int, end: int, spare: Any) -> None:
    """Sort ``hits[start:end]``: few by insertion, many by radix over the bits that differ.

    ``spare`` has room for as many hits, if there are more than ``FEW``.
    """
    n = end - start
    if n <= FEW:
        for i in range(start + 1, end):
            hit = hits[i]
            place = i
            while place > start and hits[place - 1] > hit:
                hits[place] = hits[place - 1]
                place -= 1
            hits[place] = hit
        return
    differing = uint64(0)
    for i in range(start + 1, end):
        differing |= hits[i] ^ hits[start]
    most = _WIDE if n > _MANY else _NARROW
    shift, in_spare = uint64(0), False
    while shift < uint64(64) and differing >> shift:
        if shift < ROW_BITS:
            left = uint64(0)
            while left + shift < ROW_BITS and (differing & ROW_MASK) >> (shift + left):
                left += _ONE
            if left == 0:
                shift = ROW_BITS
                continue
            width = (left + (left + most - _ONE) // most - _ONE) // ((left + most - _ONE) // most)
        else:
            width = _WIDE
        if in_spare:
            _scatter(spare, 0, hits, start, n, shift, width, spare)
        else:
            _scatter(hits, start, spare, 0, n, shift, width, spare)
        in_spare = not in_spare
        shift = min(shift + width, ROW_BITS) if shift < ROW_BITS else shift + width
    if in_spare:
        for i in range(n):
            hits[start + i] = spare[i]


@kernel()
def _scatter(
    source: Any,
    source_start: int,
    target: Any,
    target_start: int,
    n: int,
    shift: Any,
    width: Any,
    spare: Any,
) -> None:
    """One pass of a radix sort; the last ``DIGITS`` of ``spare`` say where each digit goes."""
    starts = uint64(len(spare) - DIGITS)
    low = (_ONE << width) - _ONE
    for digit in range(low + _ONE):
        spare[starts + digit] = 0
    for i in range(n):
        spare[starts + ((source[source_start + i] >> shift) & low)] += _ONE
    total = uint64(target_start)
    for digit in range(low + _ONE):
        count = spare[starts + digit]
        spare[starts + digit] = total
        total += count
    for i in range(n):
        hit = source[source_start + i]
        digit_of = starts + ((hit >> shift) & low)
        target[spare[digit_of]] = hit
        spare[digit_of] += _ONE


@kernel(allocates=True)
def sort_each(hits: Any, lims: NDArray[np.int64]) -> None:
    """Sort the hits of each query: query i owns ``lims[i]:lims[i + 1]``."""
    most = 0
    for i in range(len(lims) - 1):
        most = max(most, lims[i + 1] - lims[i])
    spare = np.empty(0 if most <= FEW else most + DIGITS, dtype=np.uint64)
    for i in range(len(lims) - 1):
        sort_hits(hits, lims[i], lims[i + 1], spare)


@kernel(allocates=True)
def unpack_hits(hits: Any, rows: NDArray[np.int64], distances: NDArray[np.int32]) -> None:
    """Write the rows and the distances of hits."""
    for i in range(len(hits)):
        rows[i] = hits[i] & ROW_MASK
        distances[i] = hits[i] >> ROW_BITS
