"""Answer queries within one segment with compiled kernels, on as many threads as pay."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import DamagedIndexError
from hashret.search.hit_kernels import sort_each, unpack_hits
from hashret.search.nearest_kernels import probe_nearest
from hashret.search.prepared import BATCH, Prepared, code_spans, plan_costs
from hashret.search.query_kernels import (
    T_CANDIDATES,
    T_SCAN,
    T_SECONDS,
    probe_within,
)
from hashret.search.scan_kernels import scan_nearest, scan_within
from hashret.search.segment_files import REMEDY
from hashret.search.threads import in_threads, n_cores

Bitmap: TypeAlias = NDArray[np.uint8]
Lims: TypeAlias = NDArray[np.int64]

SHARE = 64
"""Queries that are worth a thread of their own."""
MANY_HITS = 1 << 12
"""Hits of a query beyond which queries are scanned for one by one."""

N_TRACE = 5


def within(
    prepared: Prepared, queries: Codes, radius: int, allowed: Bitmap
) -> tuple[NDArray[np.uint64], Lims, NDArray[np.float64]]:
    """Find all codes within a radius of each query.

    Args:
        prepared: a segment that is not empty.
        queries: ``uint8``, shape ``(nq, n_bits / 8)``, C-contiguous and writable.
        radius: in bits, at most ``n_bits``.
        allowed: bitmap of rows; empty allows all.

    Returns:
        Hits, each query's in their order; ``lims`` (nq + 1,); and a trace (nq, 5), whose columns
        ``query_kernels`` names.

    Raises:
        DamagedIndexError: the arrays of the segment make no sense.
    """
    n_queries = len(queries)
    if n_queries <= SHARE:
        return _within(prepared, queries, radius, allowed, 1)
    shares = np.linspace(0, n_queries, min(n_cores(), n_queries // SHARE) + 1).astype(int)
    spans = [slice(a, b) for a, b in pairwise(shares)]
    several = len(spans)
    answers = in_threads(
        lambda own: _within(prepared, queries[own], radius, allowed, several), spans
    )
    hits, lims, traces = zip(*answers, strict=True)
    starts = np.cumsum([0, *(own[-1] for own in lims)])
    joined = [own[1:] + start for own, start in zip(lims, starts[:-1], strict=True)]
    return np.concatenate(hits), np.concatenate([[0], *joined]), np.concatenate(traces)


def _within(
    prepared: Prepared, queries: Codes, radius: int, allowed: Bitmap, busy: int
) -> tuple[NDArray[np.uint64], Lims, NDArray[np.float64]]:
    """The same on this thread, of ``busy`` ones; a single scan may use the others."""
    n_queries = len(queries)
    lims = np.zeros(n_queries + 1, dtype=np.int64)
    trace = np.zeros((n_queries, N_TRACE))
    signals = np.zeros(2, dtype=np.int64)
    costs, budget, scan_seconds = plan_costs(prepared, n_queries, busy)
    tables = prepared.segment.layout.word_tables
    if budget > 0:
        hits = probe_within(
            *prepared.store,
            *prepared.tables,
            tables,
            allowed,
            queries,
            radius,
            costs,
            lims,
            trace,
            signals,
        )
        damage, scans = signals.tolist()
        if damage:
            raise _damaged()
        if not scans:
            return hits, lims, trace
    else:
        scans = n_queries
        trace[:, T_SCAN] = 1
    scanned = trace[:, T_SCAN] > 0 if scans < n_queries else slice(None)
    trace[scanned, T_SECONDS] = scan_seconds
    trace[scanned, T_CANDIDATES] = len(prepared.segment)
    if scans == n_queries:
        return *_scan_within(prepared, queries, radius, allowed, busy), trace
    left = np.flatnonzero(trace[:, T_SCAN])
    own_hits, own_lims = _scan_within(prepared, queries[left], radius, allowed, busy)
    counts = np.diff(lims)
    counts[left] = np.diff(own_lims)
    merged = np.empty(len(hits) + len(own_hits), dtype=np.uint64)
    ends = np.cumsum(counts)
    from_scan = np.zeros(n_queries, dtype=np.bool_)
    from_scan[left] = True
    owner = np.repeat(from_scan, counts)
    merged[owner], merged[~owner] = own_hits, hits
    return merged, np.concatenate([[0], ends]), trace


def _scan_within(
    prepared: Prepared, queries: Codes, radius: int, allowed: Bitmap, busy: int
) -> tuple[NDArray[np.uint64], Lims]:
    """Scan for some queries at a time: one, where each has so many hits that they fill a cache."""
    spans = code_spans(prepared, len(queries), busy)
    if len(queries) <= BATCH:
        return _scan_spans(prepared, queries, radius, allowed, spans)
    answers, start, size = [], 0, BATCH
    while start < len(queries):
        answers.append(_scan_spans(prepared, queries[start : start + size], radius, allowed, spans))
        start += size
        size = 1 if len(answers[-1][0]) > size * MANY_HITS else 2 * BATCH
    counts = np.concatenate([np.diff(lims) for _, lims in answers])
    lims = np.zeros(len(queries) + 1, dtype=np.int64)
    np.cumsum(counts, out=lims[1:])
    return np.concatenate([hits for hits, _ in answers]), lims


def _scan_spans(
    prepared: Prepared, queries: Codes, radius: int, allowed: Bitmap, spans: list[tuple[int, int]]
) -> tuple[NDArray[np.uint64], Lims]:
    """Scan spans of codes, each on a thread of its own."""
    damage = np.zeros(1, dtype=np.int64)
    tables = prepared.segment.layout.word_tables

    def run(span: tuple[int, int]) -> tuple[NDArray[np.uint64], Lims]:
        lims = np.zeros(len(queries) + 1, dtype=np.int64)
        hits = scan_within(*prepared.scanned, tables, allowed, *span, queries, radius, lims, damage)
        return hits, lims

    answers = in_threads(run, spans) if len(spans) > 1 else [run(spans[0])]
    if damage[0]:
        raise _damaged()
    if len(answers) == 1:
        return answers[0]
    hits = np.concatenate(
        [own[lims[q] : lims[q + 1]] for q in range(len(queries)) for own, lims in answers]
    )
    total = np.add.reduce([lims for _, lims in answers])
    sort_each(hits, total)
    return hits, total


def nearest(
    prepared: Prepared,
    queries: Codes,
    radius: int,
    allowed: Bitmap,
    heaps: NDArray[np.uint64],
    sizes: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Bring the nearest codes within a radius of each query into its heap.

    Args:
        prepared: a segment that is not empty.
        queries: as in :func:`within`.
        radius: in bits, at most ``n_bits``.
        allowed: bitmap of rows; empty allows all.
        heaps: ``uint64``, shape ``(nq, k)``: a max-heap of hits for each query, changed; it may
            hold hits of other segments.
        sizes: ``int64``, shape ``(nq,)``: how many hits each has; changed.

    Returns:
        A trace, as in :func:`within`.

    Raises:
        DamagedIndexError: the arrays of the segment make no sense.
    """
    n_queries = len(queries)
    trace = np.zeros((n_queries, N_TRACE))
    damage = np.zeros(1, dtype=np.int64)
    flips = np.full((n_queries, len(prepared.segment.layout.parts)), -1, dtype=np.int64)
    tables = prepared.segment.layout.word_tables
    several = min(n_cores(), max(1, n_queries // SHARE))
    costs, budget, scan_seconds = plan_costs(prepared, n_queries, several)

    def run(own: slice) -> None:
        signals = np.zeros(2, dtype=np.int64)
        if budget > 0:
            probe_nearest(
                *prepared.store,
                *prepared.tables,
                tables,
                allowed,
                queries[own],
                radius,
                costs,
                heaps[own],
                sizes[own],
                flips[own],
                trace[own],
                signals,
            )
            damage[0] |= signals[0]
            if damage[0] or not signals[1]:
                return
        else:
            trace[own, T_SCAN] = 1
        left = own.start + np.flatnonzero(trace[own, T_SCAN])
        whole = len(left) == own.stop - own.start
        mine: Any = own if whole else left
        some = queries[mine], heaps[mine], sizes[mine], flips[mine]
        _scan_nearest(prepared, *some, radius, allowed, several, damage)
        if not whole:
            heaps[left], sizes[left] = some[1], some[2]
        trace[left, T_SECONDS] += scan_seconds
        trace[left, T_CANDIDATES] += len(prepared.segment)

    shares = np.linspace(0, n_queries, several + 1).astype(int).tolist()
    spans = [slice(a, b) for a, b in pairwise(shares)]
    in_threads(run, spans)
    if damage[0]:
        raise _damaged()
    return trace


def _scan_nearest(
    prepared: Prepared,
    queries: Codes,
    heaps: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    flips: NDArray[np.int64],
    radius: int,
    allowed: Bitmap,
    busy: int,
    damage: NDArray[np.int64],
) -> None:
    tables = prepared.segment.layout.word_tables
    parts = prepared.segment.layout.parts

    def run(span: tuple[int, int], heaps: Any, sizes: Any) -> None:
        scan_nearest(
            *prepared.scanned,
            parts,
            tables,
            allowed,
            *span,
            queries,
            radius,
            heaps,
            sizes,
            flips,
            damage,
        )

    spans = code_spans(prepared, len(queries), busy)
    if len(spans) == 1:
        run(spans[0], heaps, sizes)
        return
    k = heaps.shape[1]
    others = [(np.empty_like(heaps), np.zeros_like(sizes)) for _ in spans[1:]]
    every = [(heaps, sizes), *others]
    in_threads(lambda i: run(spans[i], *every[i]), range(len(spans)))
    for q in range(len(queries)):
        best = np.sort(np.concatenate([own[q, : own_sizes[q]] for own, own_sizes in every]))[:k]
        sizes[q] = len(best)
        # Descending numbers are a heap with the greatest on top.
        heaps[q, : len(best)] = best[::-1]


def unpack(hits: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Rows and distances of hits."""
    rows = np.empty(len(hits), dtype=np.int64)
    distances = np.empty(len(hits), dtype=np.int32)
    unpack_hits(hits, rows, distances)
    return rows, distances


def _damaged() -> DamagedIndexError:
    return DamagedIndexError(
        "The tables (offsets.npy, positions.npy or rows.npy) point outside the codes or the rows: "
        f"a file was altered. {REMEDY}"
    )
