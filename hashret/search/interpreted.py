"""Answer queries within one segment with NumPy alone.

For a few queries in a new process, where importing a compiler would take longer than the search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.search import planner
from hashret.search.found import ROW_BITS, Collect, Hits, Ranking, pack_hits
from hashret.search.interpreted_plan import Plan, damaged
from hashret.search.layout import Words
from hashret.search.scan import distances, scan
from hashret.search.segment import Segment
from hashret.search.threads import slices

WASTE = 0.12
"""With a limit, this share of the cost of a scan may be spent before it shows what tables cost."""
SAMPLE_FROM = 0.02
"""Sizes of buckets are sampled where a plan might cost this share of a scan."""
CANDIDATE_WORDS = 1 << 17
"""Words of codes that are fetched at once, if no bucket is larger: bounds the memory to 10 MB."""
NARROW_FROM = 8
"""Looking up for all codes whether they are allowed costs as much as so many scans."""
SELECTIVE = 16
"""Where less than one code in so many is allowed, scans leave out the others."""
BLOCK = 1 << 16


@dataclass
class Trace:
    """What answering one query within one segment took; see ``SearchStats``."""

    plan: str = "scan"
    probes: int = 0
    candidates: int = 0
    estimated_seconds: float = 0.0


def search(
    segment: Segment, queries: Words, rankings: Sequence[Ranking], allowed: NDArray[np.uint8]
) -> list[Trace]:
    """Bring into each ranking all it wants of one segment.

    Args:
        segment: codes, with tables or without.
        queries: shape ``(nq, n_words)``, in the bit order and of the dtype of the layout.
        rankings: one for each query, with the bound and the limit to keep.
        allowed: a bit for each row from 0 on, as ``numpy.packbits`` lays them out; rows beyond its
            end are not allowed. An empty array allows all.

    Returns:
        How each query was answered.

    Raises:
        DamagedIndexError: numbers in an array of the segment make no sense.
    """
    traces = [Trace() for _ in rankings]
    n, n_words = segment.words.shape
    if not n or not rankings:
        return traces
    collect = _collector(segment, allowed)
    scan_seconds = planner.scan_seconds(n, n_words, len(queries)) / len(queries)
    budget = inf if planner.forced == "tables" else scan_seconds
    may_probe = len(segment.layout.parts) > 0 and planner.forced != "scan"
    left = [
        i
        for i, ranking in enumerate(rankings)
        if not (may_probe and _probe(segment, queries[i], ranking, collect, budget, traces[i]))
    ]
    if left:
        own = queries[left], [rankings[i] for i in left]
        some = _few_allowed(segment, allowed) if len(left) >= NARROW_FROM else None
        if some is None:
            scan(segment.scanned, *own, collect)
        else:
            n, words = len(some), segment.words.take(some, axis=0)
            scan(words, *own, lambda places, found: collect(some[places], found))
    for i in left:
        traces[i].candidates += n
        traces[i].estimated_seconds += scan_seconds
    return traces


def _probe(
    segment: Segment,
    query: Words,
    ranking: Ranking,
    collect: Collect,
    budget: float,
    trace: Trace,
) -> bool:
    """Probe tables until the ranking has all it wants; False if a scan is the cheaper way on."""
    bound, limit = ranking.bound, ranking.limit
    hits: Hits = np.empty(0, dtype=np.uint64)
    plan = Plan.begin(segment, query)
    spent = 0.0
    while plan.reach < bound:
        following = _next_round(plan, bound, limit is not None, spent, budget)
        if following is not None:
            starts, sizes = following.look_up()
            candidates = int(sizes.sum())
            trace.probes += len(sizes)
            unforeseen = candidates - following.candidates
            spent += following.seconds + unforeseen * planner.CANDIDATE_SECONDS
        if following is None or spent > budget:
            # What was found will be found again, but the bound that it set holds already.
            ranking.bound = bound
            if plan.reach >= 0:
                trace.plan = f"{_plan_in_words(plan.reach)}, then scan"
            return False
        plan = following
        trace.candidates += candidates
        trace.estimated_seconds = spent
        found = [hits, *_compare(segment, query, starts, sizes, bound, collect)]
        hits = _unique(np.concatenate(found))[:limit]  # several parts may lead to one code
        if len(hits) == limit:
            bound = min(bound, int(hits[-1] >> np.uint64(ROW_BITS)))
    trace.plan = _plan_in_words(min(plan.reach, ranking.bound))
    ranking.add(hits)
    return True


def _plan_in_words(reach: int) -> str:
    return f"tables, radius 0 to {reach}" if reach else "tables, radius 0"


def _next_round(plan: Plan, bound: int, grows: bool, spent: float, budget: float) -> Plan | None:
    """Plan what to look up next; None if going on to the bound should cost more than a scan."""
    # A round takes some time however little it does, so its shells may take as long again.
    room = 2 * planner.SHELL_SECONDS
    if grows:
        following = plan.ahead(bound, room)
        if spent + following.seconds <= WASTE * budget:
            return following
    whole = plan.ahead(bound, budget - spent)
    if whole.seconds > SAMPLE_FROM * budget and not plan.samples:
        plan = plan.sampled()
        whole = plan.ahead(bound, budget - spent)
    if whole.reach < bound or spent + whole.seconds > budget:
        return None
    return plan.ahead(bound, room) if grows else whole


def _compare(
    segment: Segment,
    query: Words,
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    bound: int,
    collect: Collect,
) -> Iterator[Hits]:
    """Give the hits within a bound among the codes that :meth:`Plan.look_up` tells of."""
    n, n_words = segment.words.shape
    ends = sizes.cumsum()
    shifts = starts - ends + sizes
    cuts = [0, len(ends)]
    if ends[-1] * n_words > CANDIDATE_WORDS:
        cuts[1:1] = (np.diff(ends * n_words // CANDIDATE_WORDS).nonzero()[0] + 1).tolist()
    for first, last in pairwise(cuts):
        places = shifts[first:last].repeat(sizes[first:last])
        places += np.arange(ends[last - 1] - len(places), ends[last - 1])
        n_direct = np.count_nonzero(places < n)
        if n_direct < len(places):
            listed = segment.positions.take(places[n_direct:] - n)
            if listed.max() >= n:
                raise damaged("positions.npy")
            places[n_direct:] = listed
        found = distances(segment.words.take(places, axis=0), query)
        near = (found <= bound).nonzero()[0]
        yield collect(places[near], found[near])


def _unique(hits: Hits) -> Hits:
    """Hits in their order, each once; the array is sorted in place."""
    hits.sort()
    is_new = np.ones(len(hits), dtype=np.bool_)
    np.not_equal(hits[1:], hits[:-1], out=is_new[1:])
    return hits[is_new]


def _collector(segment: Segment, allowed: NDArray[np.uint8]) -> Collect:
    span = segment.row_end - segment.row_base

    def collect(places: NDArray[np.intp], found: NDArray[Any]) -> Hits:
        relative = segment.rows.take(places)
        # As unsigned numbers, negative rows are too large as well.
        if len(relative) and relative.view(f"u{relative.itemsize}").max() >= span:
            raise damaged("rows.npy")
        rows = relative + np.int64(segment.row_base)
        if not len(allowed):
            return pack_hits(found, rows)
        keep = _is_allowed(allowed, rows)
        return pack_hits(found[keep], rows[keep])

    return collect


def _few_allowed(segment: Segment, allowed: NDArray[np.uint8]) -> NDArray[np.intp] | None:
    """The places of all codes that are allowed, if they are few."""
    n = len(segment)
    if not len(allowed) or int(np.bitwise_count(allowed).sum()) * SELECTIVE > n:
        return None
    found = [
        own.start
        + _is_allowed(allowed, segment.rows[own] + np.int64(segment.row_base)).nonzero()[0]
        for own in slices(n, BLOCK)
    ]
    return np.concatenate(found)


def _is_allowed(allowed: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    at = rows >> 3
    bits = allowed.take(at, mode="clip") << (rows & 7)
    return np.asarray((bits & 128 != 0) & (at < len(allowed)))
