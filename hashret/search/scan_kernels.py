"""Compiled: compare queries with every code, a block of codes at a time.

A block stays in the nearest cache while every query passes over it. A first pass only counts what
is within the bound, without a branch, so that the processor compares many codes at once; the
second runs where something was found.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from hashret.search.compiling import bit_count, kernel
from hashret.search.hit_kernels import DIGITS, FEW, ROW_BITS, push, sort_hits
from hashret.search.probe_kernels import is_allowed, spread_bits

BLOCK_WORDS = 2048
"""Words that a query passes over at a time."""
SPAN = 256
"""Codes that are gone through for one hit."""
DENSE = 8
"""Hits are ordered by place, not sorted, where they are more than a row in so many."""

_ONE = np.uint64(1)
_NO_DISTANCE = np.uint16(0xFFFF)


@kernel(allocates=True)
def scan_within(
    flat: Any,
    n_words: int,
    rows: Any,
    row_base: int,
    row_span: int,
    word_tables: Any,
    allowed: Any,
    start: int,
    end: int,
    queries: Any,
    radius: int,
    lims: Any,
    damage: Any,
) -> Any:
    """Find all codes within a radius of each query among the codes ``start`` to ``end``.

    The arguments are those of ``query_kernels.probe_within``.

    Returns:
        The hits, each query's sorted; query i owns ``lims[i]:lims[i + 1]``.
    """
    n_queries = len(queries)
    words = np.empty((n_queries, n_words), dtype=np.uint64)
    spread_bits(queries, word_tables, n_words, words)
    found = np.empty(256, dtype=np.uint64)
    owners = np.empty(0 if n_queries == 1 else 256, dtype=np.uint32)
    totals = np.zeros(n_queries, dtype=np.int64)
    total = 0
    size = max(1, BLOCK_WORDS // n_words)
    block_near = np.empty(SPAN, dtype=np.uint16)
    block_places = np.empty(SPAN, dtype=np.uint32)
    for first in range(start, end, size):
        last = min(first + size, end)
        for q in range(n_queries):
            count = _count(flat, n_words, first, last, words, q, uint64(radius))
            if count == 0:
                continue
            if total + count > len(found):
                # As many again for each of the codes to come, where there have been some already.
                share = (last - start) / (end - start)
                room = min(np.int64(1.05 * total / share), 8 * len(found))
                room = max(total + count, 2 * len(found), room)
                larger = np.empty(room, dtype=np.uint64)
                larger[:total] = found[:total]
                found = larger
                if n_queries > 1:
                    more = np.empty(len(found), dtype=np.uint32)
                    more[:total] = owners[:total]
                    owners = more
            before = total
            for begin in range(first, last, SPAN):
                stop = min(begin + SPAN, last)
                # Where hits are few most spans have none.
                if count < (last - first) // SPAN and not _count(
                    flat, n_words, begin, stop, words, q, uint64(radius)
                ):
                    continue
                total = _take(
                    flat,
                    n_words,
                    rows,
                    row_base,
                    row_span,
                    allowed,
                    begin,
                    stop,
                    words,
                    q,
                    uint64(radius),
                    found,
                    total,
                    block_near,
                    block_places,
                    damage,
                )
            totals[q] += total - before
            for i in range(before, total if n_queries > 1 else 0):
                owners[i] = q
    for q in range(n_queries):
        lims[q + 1] = lims[q] + totals[q]
    if n_queries > 1:
        grouped = np.empty(total, dtype=np.uint64)
        ends = lims[:-1].copy()
        for i in range(total):
            grouped[ends[owners[i]]] = found[i]
            ends[owners[i]] += 1
        found = grouped
    most = totals.max()
    dense = most * DENSE > row_span
    near = np.empty(row_span if dense else 0, dtype=np.uint16)
    places = np.empty(64 * n_words + 1, dtype=np.int64)
    spare = np.empty(most + DIGITS if most > FEW and not dense else 0, dtype=np.uint64)
    for q in range(n_queries):
        if dense:
            _order_dense(found, lims[q], lims[q + 1], row_base, near, places, damage)
        else:
            sort_hits(found, lims[q], lims[q + 1], spare)
    return found[:total]


@kernel(allocates=True)
def scan_nearest(
    flat: Any,
    n_words: int,
    rows: Any,
    row_base: int,
    row_span: int,
    parts: Any,
    word_tables: Any,
    allowed: Any,
    start: int,
    end: int,
    queries: Any,
    radius: int,
    heaps: Any,
    sizes: Any,
    flips: Any,
    damage: Any,
) -> None:
    """Bring the nearest among the codes ``start`` to ``end`` into the heap of each query.

    Codes that the tables have led to already are left out: those of which some part p is within
    ``flips[q, p]`` of the query's. Else see ``query_kernels.probe_nearest``.
    """
    n_queries = len(queries)
    words = np.empty((n_queries, n_words), dtype=np.uint64)
    spread_bits(queries, word_tables, n_words, words)
    size = max(1, BLOCK_WORDS // n_words)
    for first in range(start, end, size):
        last = min(first + size, end)
        for q in range(n_queries):
            bound = uint64(radius)
            if sizes[q] == heaps.shape[1]:
                bound = min(bound, heaps[q, 0] >> ROW_BITS)
            if not _count(flat, n_words, first, last, words, q, bound):
                continue
            for begin in range(first, last, SPAN):
                stop = min(begin + SPAN, last)
                if not _count(flat, n_words, begin, stop, words, q, bound):
                    continue
                _push_near(
                    flat,
                    n_words,
                    rows,
                    row_base,
                    row_span,
                    parts,
                    allowed,
                    begin,
                    stop,
                    words,
                    q,
                    bound,
                    heaps,
                    sizes,
                    flips,
                    damage,
                )
                if sizes[q] == heaps.shape[1]:
                    bound = min(bound, heaps[q, 0] >> ROW_BITS)


@kernel(inline=True)
def _distance(flat: Any, n_words: Any, place: Any, words: Any, q: int) -> Any:
    distance = uint64(0)
    for w in range(n_words):
        distance += bit_count(uint64(flat[place * n_words + w]) ^ words[q, w])
    return distance


@kernel()
def _count(
    flat: Any, n_words: int, first: int, last: int, words: Any, q: int, bound: np.uint64
) -> Any:
    """How many codes lie within the bound; the common lengths are spelt out, to be vectorised."""
    count = 0
    begin, end = uint64(first), uint64(last)
    if n_words == 1:
        word = words[q, 0]
        for i in range(begin, end):
            count += bit_count(uint64(flat[i]) ^ word) <= bound
    elif n_words == 2:
        word, second = words[q, 0], words[q, 1]
        for i in range(begin, end):
            j = i << _ONE
            distance = bit_count(uint64(flat[j]) ^ word)
            distance += bit_count(uint64(flat[j + _ONE]) ^ second)
            count += distance <= bound
    elif n_words == 4:
        word, second, third, fourth = words[q, 0], words[q, 1], words[q, 2], words[q, 3]
        for i in range(begin, end):
            j = i << uint64(2)
            distance = bit_count(uint64(flat[j]) ^ word)
            distance += bit_count(uint64(flat[j + _ONE]) ^ second)
            distance += bit_count(uint64(flat[j + uint64(2)]) ^ third)
            distance += bit_count(uint64(flat[j + uint64(3)]) ^ fourth)
            count += distance <= bound
    elif n_words == 3:
        word, second, third = words[q, 0], words[q, 1], words[q, 2]
        for i in range(begin, end):
            j = i * uint64(3)
            distance = bit_count(uint64(flat[j]) ^ word)
            distance += bit_count(uint64(flat[j + _ONE]) ^ second)
            distance += bit_count(uint64(flat[j + uint64(2)]) ^ third)
            count += distance <= bound
    else:
        for i in range(begin, end):
            count += _distance(flat, uint64(n_words), i, words, q) <= bound
    return count


@kernel()
def _take(
    flat: Any,
    n_words: int,
    rows: Any,
    row_base: int,
    row_span: int,
    allowed: Any,
    first: int,
    last: int,
    words: Any,
    q: int,
    bound: np.uint64,
    found: Any,
    total: int,
    near: Any,
    places: Any,
    damage: Any,
) -> Any:
    """Append the hits of one query in a block; the new total."""
    begin, size = uint64(first), uint64(last - first)
    if n_words == 1:
        word = words[q, 0]
        for i in range(size):
            near[i] = bit_count(uint64(flat[begin + i]) ^ word)
    else:
        for i in range(size):
            near[i] = _distance(flat, uint64(n_words), begin + i, words, q)
    # Without a branch: whether a code is a hit cannot be guessed where many are.
    count = uint64(0)
    for i in range(size):
        places[count] = i
        count += uint64(uint64(near[i]) <= bound)
    filtered = len(allowed) > 0
    base, span = uint64(row_base), uint64(row_span)
    at = uint64(total)
    for j in range(count):
        i = uint64(places[j])
        relative = uint64(rows[begin + i])
        if relative >= span:
            damage[0] = 1
        elif not filtered or is_allowed(allowed, relative + base):
            found[at] = uint64(near[i]) << ROW_BITS | (relative + base)
            at += _ONE
    return np.int64(at)


@kernel()
def _push_near(
    flat: Any,
    n_words: int,
    rows: Any,
    row_base: int,
    row_span: int,
    parts: Any,
    allowed: Any,
    first: int,
    last: int,
    words: Any,
    q: int,
    bound: np.uint64,
    heaps: Any,
    sizes: Any,
    flips: Any,
    damage: Any,
) -> None:
    """Push the hits of one query in a block onto its heap."""
    base, span = uint64(row_base), uint64(row_span)
    for i in range(uint64(first), uint64(last)):
        distance = _distance(flat, uint64(n_words), i, words, q)
        if distance > bound:
            continue
        relative = uint64(rows[i])
        if relative >= span:
            damage[0] = 1
            continue
        if len(allowed) and not is_allowed(allowed, relative + base):
            continue
        new = True
        for p in range(len(parts)):
            if flips[q, p] >= 0:
                word = uint64(parts[p, 0])
                differing = uint64(flat[i * uint64(n_words) + word]) ^ words[q, word]
                mask = (_ONE << uint64(parts[p, 2])) - _ONE
                if bit_count((differing >> uint64(parts[p, 1])) & mask) <= uint64(flips[q, p]):
                    new = False
        if new:
            sizes[q] = push(heaps, q, sizes[q], distance << ROW_BITS | (relative + base))
            if sizes[q] == heaps.shape[1]:
                bound = min(bound, heaps[q, 0] >> ROW_BITS)


@kernel()
def _order_dense(
    found: Any, first: int, last: int, row_base: int, near: Any, places: Any, damage: Any
) -> None:
    """Order hits that have a good part of all rows: by a table of the distance of each row."""
    mask = (_ONE << ROW_BITS) - _ONE
    base = uint64(row_base)
    for distance in range(len(places)):
        places[distance] = 0
    for empty in range(uint64(len(near))):
        near[empty] = _NO_DISTANCE
    for i in range(first, last):
        distance = found[i] >> ROW_BITS
        row = (found[i] & mask) - base
        if near[row] != _NO_DISTANCE:
            damage[0] = 1  # a row that comes twice
        near[row] = distance
        places[distance] += 1
    total = first
    for distance in range(len(places)):
        count = places[distance]
        places[distance] = total
        total += count
    # The hits are all in the table, so their list may be written anew.
    for row in range(uint64(len(near))):
        if near[row] != _NO_DISTANCE:
            distance = uint64(near[row])
            found[places[distance]] = distance << ROW_BITS | (row + base)
            places[distance] += 1
