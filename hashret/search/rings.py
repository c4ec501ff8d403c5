"""Answer queries within one segment: rings from the hash table while they are cheap, else a scan.

Nothing is approximate. A ring is decided whole before it is cut at the limit, and a query that
leaves the table is answered by the scan alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hashret.search import planner
from hashret.search.found import Collect, Narrow, Ranking
from hashret.search.hash_table import HashTable
from hashret.search.scan import Words, distances, scan


@dataclass
class Trace:
    """What answering one query within one segment took; see ``SearchStats``."""

    plan: str = "scan"
    probes: int = 0
    candidates: int = 0
    estimated_seconds: float = 0.0


def search(
    words: Words,
    table: HashTable | None,
    queries: Words,
    rankings: Sequence[Ranking],
    collect: Collect,
    narrow: Narrow,
) -> list[Trace]:
    """Bring into each ranking all it wants of one segment.

    Args:
        words: the codes of the segment, shape ``(n, words)``.
        table: their hash table, if they have one.
        queries: shape ``(nq, words)``.
        rankings: one for each query, with the bound and the limit to keep.
        collect: turns positions and distances into hits.
        narrow: asked before a scan for the positions it may keep to.

    Returns:
        How each query was answered.
    """
    traces = [Trace() for _ in rankings]
    n, n_words = words.shape
    if not n or not rankings:
        return traces
    budget = planner.scan_seconds(n, n_words, len(queries)) / len(queries)
    left = [
        i
        for i, ranking in enumerate(rankings)
        if table is None
        or not _probe(words, table, queries[i], ranking, collect, budget, traces[i])
    ]
    if left:
        positions = narrow()
        if positions is None:
            scan(words, queries[left], [rankings[i] for i in left], collect)
        else:
            n = len(positions)
            scan(
                words.take(positions, axis=0),
                queries[left],
                [rankings[i] for i in left],
                lambda some, found: collect(positions[some], found),
            )
    for i in left:
        traces[i].candidates += n
        traces[i].estimated_seconds += budget
    return traces


def _probe(
    words: Words,
    table: HashTable,
    query: Words,
    ranking: Ranking,
    collect: Collect,
    budget: float,
    trace: Trace,
) -> bool:
    """Probe rings until the ranking has all it wants; False if a scan is the cheaper way on."""
    own = Ranking(ranking.bound, ranking.limit)
    grows = ranking.limit is not None
    allowance = budget * planner.GROWING_SHARE if grows else budget
    code = query.view(np.uint8)[: table.n_bits // 8]
    first, last = 0, 0 if grows else ranking.bound
    while last <= own.bound:
        probes = table.probes(first, last)
        expected = probes * len(words) / (1 << table.bucket_bits)
        cost = trace.estimated_seconds + planner.probe_seconds(probes, expected)
        if cost <= allowance:
            probed, starts, sizes = table.spans(code, first, last)
            trace.probes += probed
            candidates = int(sizes.sum())
            cost += (candidates - expected) * planner.CANDIDATE_SECONDS
        if cost > allowance:
            # Its hits will be found again, but the bound they set holds already.
            ranking.bound = min(ranking.bound, own.bound)
            if first:
                trace.plan = f"hash table to radius {first - 1}, then scan"
            return False
        trace.estimated_seconds = cost
        trace.candidates += candidates
        positions = table.positions(starts, sizes, len(words))
        found = distances(words.take(positions, axis=0), query)
        near = found <= own.bound
        own.add(collect(positions[near], found[near]))
        first = last = last + 1
    ranking.add(own.hits())
    trace.plan = f"hash table, radius 0 to {last - 1}" if last > 1 else "hash table, radius 0"
    return True
