"""Compiled: look up the buckets around many queries at once, and check what lies in them.

A search of the tables waits for memory, not for arithmetic: an offset, a position, a code and a row
are four places at random. So the probes of a block of queries go through each of these stages
together, and while one stage runs, the cache lines of the next are on their way.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
from numba import uint32, uint64
from numpy.typing import NDArray

from hashret.search.compiling import bit_count, kernel, prefetch
from hashret.search.hit_kernels import ROW_BITS, push

PROBES = 256
"""Buckets on their way at once."""
CANDIDATES = 1024
"""Codes on their way at once."""

OWNER_BITS = np.uint32(10)
"""An owner is query << 10 | part: a part has a bit at least, so there are at most 1024."""
_PART = np.uint32(1023)
_ONE, _TWO, _THREE, _SEVEN = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(7)
_PLACE = np.uint64(0xFFFFFFFF)
_LINE_WORDS = np.uint64(8)

View = namedtuple(
    "View",
    "flat n n_words rows row_base row_span offsets positions parts allowed",
)
"""A segment as kernels see it; ``flat`` holds its words, one code after the other."""

Batch = namedtuple("Batch", "words done aims bounds seen most heaps sizes found counts damage")
"""A block of queries.

``words`` (Q, n_words) are their codes; part p was probed to ``done[q, p]`` flips and is being
probed to ``aims[q, p]``; hits beyond ``bounds[q]`` do not count. ``seen[q]`` candidates were met,
of at most ``most[q]``. Hits go to ``heaps[q]``, which has ``sizes[q]`` of them, if there are heaps;
or else to ``found``, ``counts[q]`` of them and ``counts[-1]`` in all, where those without room
are only counted. ``damage[0]`` is set where an array makes no sense.
"""

Work = namedtuple(
    "Work", "buckets bucket_owners starts ends places place_owners near hits hit_queries"
)
"""Room for what is on its way."""


@kernel(allocates=True)
def new_work() -> Any:
    """Room for one thread."""
    small = np.empty(2 * PROBES + 4 * CANDIDATES, dtype=np.uint32)
    buckets = small[: 2 * PROBES].reshape(2, PROBES)
    places = small[2 * PROBES :].reshape(4, CANDIDATES)
    large = np.empty(2 * PROBES + CANDIDATES, dtype=np.uint64)
    spans, hits = large[: 2 * PROBES].reshape(2, PROBES), large[2 * PROBES :]
    return Work(
        buckets[0], buckets[1], spans[0], spans[1], places[0], places[1], places[2], hits, places[3]
    )


@kernel()
def spread_bits(codes: Any, word_tables: Any, n_words: int, words: Any) -> None:
    """Bring codes, ``uint8`` (Q, n_bytes), into the order of stored bits, ``uint64`` words."""
    for q in range(len(codes)):
        for w in range(n_words):
            words[q, w] = uint64(0)
        for byte in range(codes.shape[1]):
            for w in range(n_words):
                words[q, w] ^= uint64(word_tables[byte, codes[q, byte], w])


@kernel(inline=True)
def _is_new(view: Any, batch: Any, place: np.uint64, q: int, own: int) -> Any:
    """Whether no other part has led to this code before: no set of visited codes is needed."""
    for p in range(len(view.parts)):
        flips = batch.aims[q, p] if p < own else batch.done[q, p]
        if p != own and flips >= 0:
            word, shift = uint64(view.parts[p, 0]), uint64(view.parts[p, 1])
            mask = (_ONE << uint64(view.parts[p, 2])) - _ONE
            stored = uint64(view.flat[place * uint64(view.n_words) + word])
            if bit_count(((stored ^ batch.words[q, word]) >> shift) & mask) <= uint64(flips):
                return False
    return True


@kernel(inline=True)
def keep_hits(view: Any, batch: Any, work: Any, n_hits: int) -> None:
    """Turn places into rows, drop what is not allowed, keep the others in heap or list."""
    rows, allowed, hits, hit_queries = view.rows, view.allowed, work.hits, work.hit_queries
    heaps, sizes, bounds = batch.heaps, batch.sizes, batch.bounds
    found, counts = batch.found, batch.counts
    span, base = uint64(view.row_span), uint64(view.row_base)
    for i in range(uint64(n_hits)):
        hit, q = hits[i], hit_queries[i]
        relative = uint64(rows[hit & _PLACE])
        if relative >= span:
            batch.damage[0] = 1
            continue
        row = relative + base
        if len(allowed) and not is_allowed(allowed, row):
            continue
        hit = (hit >> ROW_BITS << ROW_BITS) | row
        if len(heaps):
            sizes[q] = push(heaps, q, sizes[q], hit)
            if sizes[q] == heaps.shape[1]:
                bounds[q] = min(bounds[q], heaps[q, 0] >> ROW_BITS)
        else:
            total = counts[-1]
            if total < len(found):
                found[total] = hit
            counts[-1] = total + 1
            counts[q] += 1


@kernel()
def is_allowed(allowed: NDArray[np.uint8], row: np.uint64) -> Any:
    """Whether the bitmap, as ``numpy.packbits`` makes it, has the row."""
    byte = row >> _THREE
    if byte >= uint64(len(allowed)):
        return False
    return (uint64(allowed[byte]) >> (_SEVEN - (row & _SEVEN))) & _ONE == _ONE


@kernel()
def _check(view: Any, batch: Any, work: Any, n_places: int) -> None:
    """Compute the distance of each candidate, and keep the hits."""
    n_hits = uint64(0)
    n_words = uint64(view.n_words)
    # Kernels take arrays out of their tuples once: in a loop that would count references.
    flat, rows, words, bounds = view.flat, view.rows, batch.words, batch.bounds
    places, owners, near = work.places, work.place_owners, work.near
    hits, hit_queries = work.hits, work.hit_queries
    single = len(view.parts) == 1
    if n_words == _ONE:
        for i in range(uint64(n_places)):
            place = uint64(places[i])
            q = owners[i] >> OWNER_BITS
            distance = bit_count(uint64(flat[place]) ^ words[q, 0])
            if distance <= bounds[q]:
                hits[n_hits] = distance << ROW_BITS | place
                near[n_hits] = i
                n_hits += uint64(1)
    elif n_words == _TWO:
        for i in range(uint64(n_places)):
            place = uint64(places[i])
            q = owners[i] >> OWNER_BITS
            distance = bit_count(uint64(flat[place << _ONE]) ^ words[q, 0])
            distance += bit_count(uint64(flat[(place << _ONE) + _ONE]) ^ words[q, 1])
            if distance <= bounds[q]:
                hits[n_hits] = distance << ROW_BITS | place
                near[n_hits] = i
                n_hits += uint64(1)
    else:
        for i in range(uint64(n_places)):
            place = uint64(places[i])
            q = owners[i] >> OWNER_BITS
            distance = uint64(0)
            for w in range(n_words):
                distance += bit_count(uint64(flat[place * n_words + w]) ^ words[q, w])
            if distance <= bounds[q]:
                hits[n_hits] = distance << ROW_BITS | place
                near[n_hits] = i
                n_hits += uint64(1)
    n_new = uint64(0)
    for i in range(n_hits):
        owner = owners[near[i]]
        place = hits[i] & _PLACE
        if single or _is_new(view, batch, place, owner >> OWNER_BITS, owner & _PART):
            prefetch(rows, place)
            hits[n_new] = hits[i]
            hit_queries[n_new] = owner >> OWNER_BITS
            n_new += uint64(1)
    if n_new:
        keep_hits(view, batch, work, n_new)


@kernel()
def flush(view: Any, batch: Any, work: Any, n_probes: int) -> None:
    """Look up buckets whose offsets are on their way, and check all that lies in them."""
    n, n_words = uint64(view.n), uint64(view.n_words)
    flat, offsets, positions = view.flat, view.offsets, view.positions
    seen, most, damage = batch.seen, batch.most, batch.damage
    buckets, bucket_owners, starts, ends = (
        work.buckets,
        work.bucket_owners,
        work.starts,
        work.ends,
    )
    places, place_owners = work.places, work.place_owners
    for i in range(uint64(n_probes)):
        bucket = uint64(buckets[i])
        start, end = uint64(offsets[bucket]), uint64(offsets[bucket + _ONE])
        q, p = bucket_owners[i] >> OWNER_BITS, bucket_owners[i] & _PART
        if end < start or end > n:
            damage[0] = 1
            end = start
        seen[q] += np.int64(end - start)
        if seen[q] > most[q]:
            end = start  # more than a scan would cost: the query is given up
        if p == 0:
            prefetch(flat, start * n_words)
        else:
            start += uint64(p - uint32(1)) * n
            end += uint64(p - uint32(1)) * n
            prefetch(positions, start)
        starts[i], ends[i] = start, end
    count, highest = uint64(0), uint64(0)
    for i in range(uint64(n_probes)):
        owner = bucket_owners[i]
        at, end = starts[i], ends[i]
        while at < end:
            size = min(end - at, uint64(CANDIDATES) - count)
            if owner & _PART == 0:
                for j in range(size):
                    places[count + j] = at + j
                    place_owners[count + j] = owner
                line, last = at * n_words + _LINE_WORDS, (at + size) * n_words - _ONE
                while line < last:
                    prefetch(flat, line)
                    line += _LINE_WORDS
                prefetch(flat, last)
            else:
                for j in range(size):
                    place = uint64(positions[at + j])
                    highest = max(highest, place)
                    places[count + j] = place
                    place_owners[count + j] = owner
                    prefetch(flat, place * n_words)
                if n_words > _TWO:  # they may lie on two lines
                    for j in range(count, count + size):
                        prefetch(flat, uint64(places[j]) * n_words + n_words - _ONE)
            count += size
            at += size
            if count == uint64(CANDIDATES):
                if highest >= n:
                    damage[0] = 1
                    return
                _check(view, batch, work, count)
                count = uint64(0)
    if highest >= n:
        damage[0] = 1
        return
    _check(view, batch, work, count)


@kernel(inline=True)
def probe(view: Any, batch: Any, work: Any, q: int, p: int, n_probes: int) -> Any:
    """Send off the buckets of part p that ``aims`` has and ``done`` has not, with their flips.

    Flips of t bits follow each other as ascending numbers (Gosper's hack; Knuth, TAOCP, 7.2.1.3).
    """
    word, shift, width = batch.words[q, view.parts[p, 0]], view.parts[p, 1], view.parts[p, 2]
    end = _ONE << uint64(width)
    key = (word >> uint64(shift)) & (end - _ONE)
    base = uint64(view.parts[p, 3])
    owner = uint32(q) << OWNER_BITS | uint32(p)
    offsets, buckets, bucket_owners = view.offsets, work.buckets, work.bucket_owners
    for t in range(batch.done[q, p] + 1, batch.aims[q, p] + 1):
        flips = (_ONE << uint64(t)) - _ONE
        while True:
            bucket = base + (key ^ flips)
            prefetch(offsets, bucket)
            buckets[n_probes] = bucket
            bucket_owners[n_probes] = owner
            n_probes += 1
            if n_probes == PROBES:
                flush(view, batch, work, n_probes)
                n_probes = 0
                if batch.seen[q] > batch.most[q]:
                    return n_probes
            if flips == uint64(0):
                break
            lowest = flips & (~flips + _ONE)
            carried = flips + lowest
            flips = carried | (((carried ^ flips) >> _TWO) >> bit_count(lowest - _ONE))
            if flips >= end:
                break
    return n_probes
