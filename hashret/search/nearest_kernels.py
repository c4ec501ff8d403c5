"""Compiled: find the nearest of a block of queries, from the tables of a segment."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashret.search.compiling import kernel
from hashret.search.hit_kernels import ROW_BITS
from hashret.search.plan_kernels import BUDGET, cheapest, extend, next_density, own_buckets
from hashret.search.probe_kernels import Batch, View, flush, new_work, probe, spread_bits
from hashret.search.query_kernels import (
    NO_LIMIT,
    QUERIES,
    SCANS,
    T_CANDIDATES,
    T_PROBES,
    T_REACH,
    T_SCAN,
    T_SECONDS,
    WASTE,
    new_state,
    ring,
)


@kernel(allocates=True)
def probe_nearest(
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
    heaps: Any,
    sizes: Any,
    flips: Any,
    trace: Any,
    signals: Any,
) -> None:
    """Bring the nearest codes of each query into its heap, growing shell by shell.

    The arguments are those of ``query_kernels.probe_within``. ``heaps``, ``uint64`` (nq, k), have
    ``sizes``, ``int64`` (nq,), hits of other segments already. ``flips``, ``int64`` (nq, m), become
    how far the parts were probed: where ``T_SCAN`` is set, a scan has to find what these have not.
    """
    m = len(parts)
    view = View(
        flat, len(rows), n_words, rows, row_base, row_span, offsets, positions, parts, allowed
    )
    size = min(QUERIES, len(queries))
    words, own_flips, counters, state = new_state(size, m, n_words)
    work = new_work()
    bounds = np.empty(size, dtype=np.uint64)
    found = np.empty(0, dtype=np.uint64)
    for first in range(0, len(queries), size):
        block = queries[first : first + size]
        batch = Batch(
            words,
            flips[first : first + size],
            own_flips[1],
            bounds,
            counters[0],
            counters[1],
            heaps[first : first + size],
            sizes[first : first + size],
            found,
            counters[2],
            signals,
        )
        spread_bits(block, word_tables, n_words, words)
        own_buckets(view, words, len(block), state.keys, state.densities)
        _start_nearest(batch, state, len(block), m, radius)
        left = len(block)
        while left:
            n_probes, left = _step(view, batch, work, state, costs, len(block), trace, first, left)
            flush(view, batch, work, n_probes)
            _learn_densities(view, batch, state, len(block))
        for q in range(len(block)):
            trace[first + q, T_CANDIDATES] = batch.seen[q]
            signals[SCANS] += np.int64(trace[first + q, T_SCAN])


@kernel()
def _start_nearest(batch: Any, state: Any, size: int, m: int, radius: int) -> None:
    k = batch.heaps.shape[1]
    for q in range(size):
        batch.seen[q], batch.most[q] = 0, NO_LIMIT
        state.stepping[q] = 0
        batch.bounds[q] = radius
        if batch.sizes[q] == k:
            batch.bounds[q] = min(batch.bounds[q], batch.heaps[q, 0] >> ROW_BITS)
        for p in range(m):
            batch.done[q, p], batch.aims[q, p] = -1, -1


@kernel()
def _step(
    view: Any,
    batch: Any,
    work: Any,
    state: Any,
    costs: Any,
    size: int,
    trace: Any,
    first: int,
    left: int,
) -> Any:
    """Send off the cheapest next shell of each query that needs one.

    Returns:
        The probes on their way, and how many queries are left.
    """
    parts, m = view.parts, len(view.parts)
    k = batch.heaps.shape[1]
    n_probes = 0
    for q in range(size):
        if state.stepping[q] < 0:
            continue
        reach = -1
        for p in range(m):
            reach += batch.done[q, p] + 1
        bound = np.int64(batch.bounds[q])
        trace[first + q, T_REACH] = min(reach, bound)
        p, price = cheapest(view, costs, batch.done, state.densities, q)
        if p < 0:
            trace[first + q, T_REACH] = bound
        if p < 0 or reach >= bound:
            state.stepping[q] = -1
            left -= 1
            continue
        if trace[first + q, T_SECONDS] + price > WASTE * costs[BUDGET]:
            # The farthest kept hit bounds how far there is to go, and so what it will cost.
            expected = np.inf
            if batch.sizes[q] == k or bound <= 2 * reach + 4:
                for x in range(m):
                    state.guess[x] = state.densities[q, x]
                    state.ahead[0, x] = batch.done[q, x]
                ahead, _ = extend(
                    view, costs, state.ahead, 0, state.guess, state.sampled, 0, bound - reach
                )
                expected = trace[first + q, T_SECONDS] + ahead
            if expected > costs[BUDGET]:
                trace[first + q, T_SCAN] = 1
                state.stepping[q] = -1
                left -= 1
                continue
        trace[first + q, T_SECONDS] += price
        state.stepping[q] = p
        state.before[q] = batch.seen[q]
        batch.aims[q, p] += 1
        trace[first + q, T_PROBES] += ring(parts[p, 2], batch.aims[q, p])
        n_probes = probe(view, batch, work, q, p, n_probes)
    return n_probes, left


@kernel()
def _learn_densities(view: Any, batch: Any, state: Any, size: int) -> None:
    """Note what was met in the last shell of each query: the next one will be alike."""
    for q in range(size):
        p = state.stepping[q]
        if p >= 0:
            probes = ring(view.parts[p, 2], batch.aims[q, p])
            density = (batch.seen[q] - state.before[q]) / probes
            state.densities[q, p] = next_density(view.parts, p, view.n, density)
            batch.done[q, p] = batch.aims[q, p]
