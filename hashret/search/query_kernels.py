"""Compiled: find all within a radius of a block of queries, from the tables of a segment.

What runs for every query makes no arrays and counts no references (``_nrt=False``): passing the
two dozen arrays of a search around would otherwise cost more than a small search.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from hashret.search.compiling import kernel
from hashret.search.hit_kernels import DIGITS, FEW, sort_hits
from hashret.search.plan_kernels import (
    BUDGET,
    PER_FAR,
    PER_PROBE,
    SAMPLED_LOW,
    SAMPLES,
    SAMPLING_SHARE,
    extend,
    own_buckets,
    sample_densities,
)
from hashret.search.probe_kernels import Batch, View, flush, new_work, probe, spread_bits

QUERIES = 32
"""Queries that are answered together."""

T_PROBES, T_CANDIDATES, T_SECONDS, T_SCAN, T_REACH = 0, 1, 2, 3, 4
"""Columns of a trace: buckets looked up, codes met, seconds expected, 1 if left to a scan, bits."""

DAMAGE, SCANS = 0, 1
"""Places in ``signals``."""

WASTE = 0.12
"""Share of the budget that may be spent before it shows that the tables will not pay."""
GIVE_UP = 1.5
"""Share of the budget at which a query whose buckets prove fuller than expected is given up."""
_MOST_SAMPLED = 12
NO_LIMIT = np.int64(1) << np.int64(62)

State = namedtuple("State", "keys densities guess sampled ahead stepping before")
"""What planning keeps of each query: its buckets, how full the next ones are, and scratch."""


@kernel(allocates=True)
def new_state(size: int, m: int, n_words: int) -> Any:
    """Room for a block of queries, in few allocations: they are much of a small search.

    Returns:
        The words of the queries, two times the flips of their parts, seven counters, and a state.
    """
    numbers = np.empty((2, size, max(n_words, m)), dtype=np.uint64)
    flips = np.full((3, size, m), -1, dtype=np.int64)
    counters = np.zeros((7, size + 1), dtype=np.int64)
    densities = np.empty((size, m), dtype=np.float64)
    table = np.empty((m + 1, max(m, _MOST_SAMPLED)), dtype=np.float64)
    state = State(numbers[1], densities, table[m], table[:m], flips[2], counters[5], counters[6])
    return numbers[0], flips, counters, state


@kernel(allocates=True)
def probe_within(
    flat: Any,
    n_words: int,
    rows: Any,
    row_base: int,
    row_span: int,
    offsets: Any,
    positions: Any,
    parts: Any,
    word_tables: Any,
    allowed: Any,
    queries: Any,
    radius: int,
    costs: Any,
    lims: Any,
    trace: Any,
    signals: Any,
) -> Any:
    """Find all codes within a radius of each query, where the tables are the cheaper way.

    Args:
        flat: the words of the segment, 1-D.
        n_words: words of a code.
        rows: the rows of the codes, relative to ``row_base`` and below ``row_span``.
        row_base: see ``rows``.
        row_span: see ``rows``.
        offsets: of the buckets of all parts.
        positions: places in the segment by bucket, for all parts but the first.
        parts: see ``Layout``.
        word_tables: see ``Layout``.
        allowed: bitmap of rows; empty allows all.
        queries: ``uint8``, (nq, n_bytes).
        radius: in bits.
        costs: see ``plan_kernels``.
        lims: out, ``int64`` (nq + 1,): query i owns ``lims[i]:lims[i + 1]`` of the result.
        trace: out, ``float64`` (nq, 5). A query with ``T_SCAN`` has no hits here.
        signals: out, ``int64`` (2,): whether an array makes no sense, and how many queries are left
            to a scan.

    Returns:
        The hits, each query's sorted.
    """
    m = len(parts)
    view = View(
        flat, len(rows), n_words, rows, row_base, row_span, offsets, positions, parts, allowed
    )
    size = min(QUERIES, len(queries))
    words, flips, counters, state = new_state(size, m, n_words)
    work = new_work()
    bounds = np.full(size, radius, dtype=np.uint64)
    heaps = np.empty((0, 0), dtype=np.uint64)
    found = np.empty(256 * size, dtype=np.uint64)
    spare = np.empty(0, dtype=np.uint64)
    first = 0
    kept: Any = 0
    scans: Any = 0
    while first < len(queries):
        block = queries[first : first + size]
        batch = Batch(
            words,
            flips[0],
            flips[1],
            bounds,
            counters[0],
            counters[1],
            heaps,
            counters[2],
            found,
            counters[3],
            signals,
        )
        spread_bits(block, word_tables, n_words, words)
        own_buckets(view, words, len(block), state.keys, state.densities)
        counters[3, -1] = kept
        n_probes = _send_within(view, batch, work, state, costs, len(block), radius, trace, first)
        flush(view, batch, work, n_probes)
        total = counters[3, -1]
        if total > len(found):
            larger = np.empty(2 * total, dtype=np.uint64)
            larger[:kept] = found[:kept]
            found = larger
            continue
        most = counters[3, : len(block)].max()
        if most > FEW and most + DIGITS > len(spare):
            spare = np.empty(2 * most + DIGITS, dtype=np.uint64)
        kept = _finish_within(batch, len(block), kept, spare, lims, trace, first)
        for q in range(first, first + len(block)):
            scans += np.int64(trace[q, T_SCAN])
        first += len(block)
    signals[SCANS] = scans
    return found[:kept]


@kernel()
def _send_within(
    view: Any,
    batch: Any,
    work: Any,
    state: Any,
    costs: Any,
    size: int,
    radius: int,
    trace: Any,
    first: int,
) -> Any:
    """Plan each query of a block, and send its probes off or mark it for a scan."""
    n_probes = 0
    parts = view.parts
    for q in range(size):
        batch.seen[q], batch.counts[q], batch.most[q] = 0, 0, NO_LIMIT
        seconds, candidates = _plan(view, state, costs, batch.aims, q, radius)
        trace[first + q, T_SECONDS] = seconds
        trace[first + q, T_PROBES] = 0
        trace[first + q, T_SCAN] = 0
        trace[first + q, T_REACH] = radius
        if seconds > costs[BUDGET]:
            trace[first + q, T_SCAN] = 1
            continue
        candidates += (GIVE_UP * costs[BUDGET] - seconds) / costs[PER_FAR]
        batch.most[q] = np.int64(min(candidates, 4e18))
        for p in range(len(parts)):
            if batch.aims[q, p] >= 0:
                trace[first + q, T_PROBES] += ball(parts[p, 2], batch.aims[q, p])
                n_probes = probe(view, batch, work, q, p, n_probes)
    return n_probes


@kernel()
def _finish_within(
    batch: Any, size: int, kept: int, spare: Any, lims: Any, trace: Any, first: int
) -> Any:
    """Sort the hits of each query of a block; drop those of the queries that were given up."""
    found, counts = batch.found, batch.counts
    at = kept
    for q in range(size):
        trace[first + q, T_CANDIDATES] = batch.seen[q]
        if batch.seen[q] > batch.most[q]:
            trace[first + q, T_SCAN] = 1
        if trace[first + q, T_SCAN] == 0:
            if kept < at:
                for i in range(counts[q]):
                    found[kept + i] = found[at + i]
            sort_hits(found, kept, kept + counts[q], spare)
            kept += counts[q]
        at += counts[q]
        lims[first + q + 1] = kept
    return kept


@kernel(inline=True)
def _plan(view: Any, state: Any, costs: Any, flips: Any, q: int, radius: int) -> Any:
    """Fill ``flips[q]`` (m,) to reach a radius; the seconds that takes and the codes to be met."""
    guess, densities, sampled = state.guess, state.densities, state.sampled
    m = len(view.parts)
    for p in range(m):
        flips[q, p] = -1
        guess[p] = densities[q, p]
    seconds, candidates = extend(view, costs, flips, q, guess, sampled, 0, radius + 1)
    sampling = 2.0 * SAMPLES * (radius + 1) * costs[PER_PROBE]
    if sampling < SAMPLING_SHARE * min(seconds, costs[BUDGET]) and costs[BUDGET] < np.inf:
        sample_densities(view, state.keys, flips, q, sampled)
        for p in range(m):
            flips[q, p] = -1
            guess[p] = densities[q, p]
        known = sampled.shape[1]
        seconds, candidates = extend(view, costs, flips, q, guess, sampled, known, radius + 1)
        seconds *= SAMPLED_LOW
        candidates *= SAMPLED_LOW
    return seconds, candidates


@kernel()
def ring(width: int, flips: int) -> Any:
    """How many buckets lie at exactly so many flips."""
    count = 1.0
    for t in range(flips):
        count = count * (width - t) / (t + 1)
    return count


@kernel()
def ball(width: int, flips: int) -> Any:
    """How many buckets lie within so many flips."""
    total = 0.0
    for t in range(min(flips, width) + 1):
        total += ring(width, t)
    return total
