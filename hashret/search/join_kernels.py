"""Compiled: find the pairs of near codes among those that agree in chosen bits.

A key is a hash of the chosen bits << 32 | the number of a code. Once keys are sorted, codes that
agree lie side by side, in a run; the pairs of a run are compared tile by tile.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
from numba import uint32, uint64
from numpy.typing import NDArray

from hashret.search.compiling import bit_count, kernel, prefetch

TILE = 256
"""A tile is so many codes by so many."""
STEP = 1 << 28
"""After so many comparisons of words, about, a search for pairs pauses."""

_NUMBER = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_ONE, _LANES = np.uint64(1), np.uint64(64)
_AHEAD = np.uint64(32)
"""So far ahead, what lies at random places is asked for: see ``prefetch``."""

Choice = namedtuple("Choice", "masks chosen n_chosen share n_shares")
"""Which parts must agree: part p is the bits ``masks[p]`` (m, n_words), ``uint64``, and of these
``n_chosen`` are chosen, where ``chosen[p]``, ``uint8``, is 1. Of the rows of tiles of each run,
every ``n_shares``-th is searched, from number ``share`` on."""

Work = namedtuple("Work", "left right distances")
"""Room for the words of a tile, ``uint64`` (n_words, TILE) twice, and (TILE,) distances."""


@kernel()
def fill_keys(words: NDArray[Any], mask: NDArray[np.uint64], keys: NDArray[np.uint64]) -> None:
    """Write the key of each code, ``(n, n_words)``, by its bits in ``mask``, ``(n_words,)``."""
    for i in range(uint64(len(words))):
        hashed = uint64(0)
        for w in range(uint64(len(mask))):
            hashed = (hashed ^ (uint64(words[i, w]) & mask[w])) * _FACTOR
            hashed ^= hashed >> _HALF
        keys[i] = hashed << _HALF | i


@kernel()
def group_equal(
    keys: NDArray[np.uint64], words: NDArray[Any], members: NDArray[Any], starts: NDArray[Any]
) -> int:
    """Group equal codes by their sorted keys.

    Equal codes come in two groups if others with the same hash lie between them.

    Args:
        keys: sorted, ``(n,)``.
        words: ``(n, n_words)``.
        members: out, ``(n,)``: the numbers of the codes, group by group.
        starts: out, ``(n + 1,)``: where each group starts, and where the last ends.

    Returns:
        The number of groups.
    """
    n_groups = 0
    before = uint64(0)
    for i in range(uint64(len(keys))):
        if i + _AHEAD < uint64(len(keys)):
            prefetch(words, (keys[i + _AHEAD] & _NUMBER) * uint64(words.shape[1]))
        own = keys[i] & _NUMBER
        members[i] = own
        same = i > uint64(0)
        if same:
            for w in range(uint64(words.shape[1])):
                same &= words[own, w] == words[before, w]
        if not same:
            starts[n_groups] = i
            n_groups += 1
        before = own
    starts[n_groups] = len(keys)
    return n_groups


@kernel()
def find_pairs(
    keys: NDArray[np.uint64],
    words: NDArray[Any],
    choice: Any,
    radius: int,
    cursor: NDArray[np.int64],
    work: Any,
    found: NDArray[np.uint32],
) -> int:
    """Find pairs of codes within a radius that no earlier choice of parts finds.

    Choices come in lexicographic order: the first to find a pair has the first of the parts in
    which it agrees.

    Args:
        keys: sorted, ``(n,)``.
        words: ``(n, n_words)``.
        choice: the parts by which the keys were made.
        radius: in bits.
        cursor: ``(4,)``, at first zeros: where to go on, the start and end of a run and the row and
            column of a tile; is moved on, and ``cursor[0]`` is n when all is done.
        work: see above.
        found: out, ``(at least TILE**2, 3)``: the numbers of two codes and their distance.

    Returns:
        The pairs found.
    """
    n, n_words, size, steps = len(keys), uint64(words.shape[1]), 0, STEP
    start, end, top, side = cursor[0], cursor[1], cursor[2], cursor[3]
    while start < n:
        if end == start:
            hashed = keys[start] >> _HALF
            end += 1
            while end < n and keys[end] >> _HALF == hashed:
                end += 1
        if end - start == 1:
            top = end
        if top == start:
            for i in range(uint64(start) + _AHEAD, min(uint64(end) + _AHEAD, uint64(n - 1))):
                if keys[i] >> _HALF == keys[i + _ONE] >> _HALF:
                    prefetch(words, (keys[i] & _NUMBER) * n_words)
                    prefetch(words, (keys[i + _ONE] & _NUMBER) * n_words)
        while top < end:
            height = min(TILE, end - top)
            if ((top - start) // TILE) % choice.n_shares == choice.share:
                _load(keys, words, top, height, work.left)
                while side < end:
                    width = min(TILE, end - side)
                    if size + height * width > len(found) or steps < 0:
                        cursor[0], cursor[1], cursor[2], cursor[3] = start, end, top, side
                        return size
                    _load(keys, words, side, width, work.right)
                    size = _compare(
                        keys, choice, radius, work, top, height, side, width, found, size
                    )
                    steps -= height * width * words.shape[1]
                    side += width
            top += height
            side = top
        start, top, side = end, end, end
    cursor[0] = n
    return size


@kernel(inline=True)
def _load(keys: Any, words: Any, start: int, size: int, tile: Any) -> None:
    for w in range(uint64(words.shape[1])):
        for i in range(uint64(size)):
            tile[w, i] = words[keys[uint64(start) + i] & _NUMBER, w]


@kernel()
def _compare(
    keys: Any,
    choice: Any,
    radius: int,
    work: Any,
    top: int,
    height: int,
    side: int,
    width: int,
    found: Any,
    size: int,
) -> int:
    """Compare the codes of a tile; on the diagonal, each pair once."""
    left, right, distances = work.left, work.right, work.distances
    most = uint64(radius)
    for i in range(uint64(height)):
        first = i + _ONE if top == side else uint64(0)
        own = uint32(keys[uint64(top) + i])
        for lane in range(uint64(0), uint64(width), _LANES):
            if lane + _LANES <= first:
                continue
            near = _near(left, i, right, lane, distances, most)
            if lane < first:
                near &= ~uint64(0) << (first - lane)
            if lane + _LANES > uint64(width):
                near &= (_ONE << (uint64(width) - lane)) - _ONE
            while near:
                x = bit_count((near & (~near + _ONE)) - _ONE)
                near &= near - _ONE
                j = lane + x
                if _is_first(choice, left, i, right, j):
                    found[size, 0] = own
                    found[size, 1] = uint32(keys[uint64(side) + j])
                    found[size, 2] = distances[x]
                    size += 1
    return size


@kernel(inline=True)
def _near(
    left: Any, i: np.uint64, right: Any, lane: np.uint64, distances: Any, most: np.uint64
) -> Any:
    """Compare a code with 64 others: a bit for each that is near. Fills their distances."""
    code = left[0, i]
    for x in range(_LANES):
        distances[x] = bit_count(code ^ right[0, lane + x])
    for w in range(_ONE, uint64(left.shape[0])):
        code = left[w, i]
        for x in range(_LANES):
            distances[x] += bit_count(code ^ right[w, lane + x])
    near = uint64(0)
    for x in range(_LANES):
        near |= uint64(distances[x] <= most) << x
    return near


@kernel(inline=True)
def _is_first(choice: Any, left: Any, i: np.uint64, right: Any, j: np.uint64) -> bool:
    """Whether the chosen parts are the first in which two codes agree."""
    agreed = 0
    part = 0
    while agreed < choice.n_chosen:
        differing = uint64(0)
        for w in range(uint64(left.shape[0])):
            differing |= (left[w, i] ^ right[w, j]) & choice.masks[part, w]
        agrees = differing == uint64(0)
        if agrees != (choice.chosen[part] == 1):
            return False
        agreed += agrees
        part += 1
    return True


@kernel()
def unfold(
    found: NDArray[np.uint32],
    n_found: int,
    starts: NDArray[Any],
    rows: NDArray[np.int64],
    cursor: NDArray[np.int64],
    rows_a: NDArray[np.int64],
    rows_b: NDArray[np.int64],
    distances: NDArray[np.int32],
    size: int,
) -> int:
    """Turn pairs of groups into the pairs of their rows; a group with itself, each pair once.

    Args:
        found: ``(any, 3)``: two groups and their distance.
        n_found: so many of these.
        starts: where each group starts in ``rows``, and where the last ends.
        rows: ``(n,)``.
        cursor: ``(3,)``: the pair to go on with, and the places in ``rows``, -1 for its first; is
            moved on, and ``cursor[0]`` is ``n_found`` when all is done.
        rows_a: out, the lower row of each pair.
        rows_b: out, the higher.
        distances: out.
        size: how many are in these already.

    Returns:
        How many there are now.
    """
    pair, i, j = cursor[0], cursor[1], cursor[2]
    room = len(rows_a)
    while pair < n_found:
        if pair + 32 < n_found:
            prefetch(starts, uint64(found[pair + 32, 0]))
            prefetch(starts, uint64(found[pair + 32, 1]))
        if pair + 16 < n_found:
            prefetch(rows, uint64(starts[uint64(found[pair + 16, 0])]))
            prefetch(rows, uint64(starts[uint64(found[pair + 16, 1])]))
        a, b = uint64(found[pair, 0]), uint64(found[pair, 1])
        a_end, b_end = np.int64(starts[a + uint64(1)]), np.int64(starts[b + uint64(1)])
        b_start = np.int64(starts[b])
        if i < 0:
            i = np.int64(starts[a])
            j = i + 1 if a == b else b_start
        while i < a_end:
            row = rows[i]
            count = min(b_end - j, room - size)
            for x in range(count):
                other = rows[j + x]
                rows_a[size + x] = min(row, other)
                rows_b[size + x] = max(row, other)
                distances[size + x] = found[pair, 2]
            size += count
            j += count
            if j < b_end:
                cursor[0], cursor[1], cursor[2] = pair, i, j
                return size
            i += 1
            j = i + 1 if a == b else b_start
        pair += 1
        i = -1
    cursor[0], cursor[1], cursor[2] = n_found, -1, -1
    return size
