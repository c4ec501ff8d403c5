"""A segment as compiled kernels take it, and what they plan with."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashret.search import machine, planner
from hashret.search.segment import Segment
from hashret.search.threads import n_cores

BATCH = 16
"""So many queries share the blocks of codes in a scan that its costs are those of a batch."""
SHARE_WORDS = 1 << 21
"""Words of a scan for a single query that are worth a thread of their own."""


_Costs: TypeAlias = tuple[NDArray[np.float64], float, float]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A segment as kernels take it.

    Attributes:
        segment: the segment.
        store: its words and rows.
        tables: its tables.
        scanned: like ``store``, for going through all codes: mapped to be read ahead.
        costs: what :func:`plan_costs` returned before.
    """

    segment: Segment
    store: tuple[Any, ...]
    tables: tuple[Any, ...]
    scanned: tuple[Any, ...]
    costs: dict[tuple[int, int, int, int], _Costs] = field(default_factory=dict)


def prepare(segment: Segment) -> Prepared:
    """Put the arrays of a segment into the order in which kernels take them."""
    span = segment.row_end - segment.row_base
    n_words = segment.layout.n_words
    rows = (segment.rows, segment.row_base, span)
    store = (segment.words.reshape(-1), n_words, *rows)
    scanned = segment.scanned.reshape(-1)
    scanned.flags.writeable = False
    tables = (segment.offsets, segment.positions, segment.layout.parts)
    return Prepared(segment, store, tables, (scanned, n_words, *rows))


def _scan_seconds(prepared: Prepared, n_queries: int, busy: int) -> float:
    """Expected seconds to scan for one of so many queries, while ``busy`` threads scan."""
    words = prepared.store[0]
    costs = machine.costs()
    if n_queries >= BATCH:
        return len(words) * costs.per_batched_word
    threads = len(code_spans(prepared, n_queries, busy))
    return costs.scanned_word(words.nbytes) * len(words) / threads + costs.per_call


def plan_costs(prepared: Prepared, n_queries: int, busy: int) -> _Costs:
    """What the kernels plan with.

    Returns:
        ``plan_kernels``' costs, the budget among them, which is 0 where nothing is to be probed,
        and the seconds of a scan.
    """
    segment = prepared.segment
    costs = machine.costs()
    key = (min(n_queries, BATCH), busy, n_cores(), id(costs))
    if planner.forced is None and key in prepared.costs:
        return prepared.costs[key]
    seconds = _scan_seconds(prepared, n_queries, busy)
    has_tables = len(segment.layout.parts) > 0
    if planner.forced is not None or not has_tables:
        budget = np.inf if planner.forced == "tables" and has_tables else 0.0
        each = [1.0, 0.5, 1.0]
    else:
        budget = planner.MARGIN * seconds
        each = [*costs.at(segment.nbytes, segment.layout.n_words)]
    result = np.array([*each, budget]), budget, seconds
    if planner.forced is None:
        prepared.costs[key] = result
    return result


def code_spans(prepared: Prepared, n_queries: int, busy: int) -> list[tuple[int, int]]:
    """Spans of codes for threads of their own, where a scan for few queries has idle cores."""
    n = len(prepared.segment)
    threads = 1
    if busy == 1 and n_cores() > 1:
        threads = min(n_cores(), 1 + len(prepared.store[0]) * n_queries // SHARE_WORDS)
    cuts = [n * i // threads for i in range(threads + 1)]
    return list(pairwise(cuts))
