"""What a search returns, and the order it keeps: distance, then row.

Inside a search a hit is one ``uint64``: its distance in the upper 12 bits, its row in the lower 52.
Sorting these numbers *is* the order of results, and the hits of several segments merge by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

ROW_BITS = 52

Hits: TypeAlias = NDArray[np.uint64]
Collect: TypeAlias = Callable[[NDArray[np.intp], NDArray[Any]], Hits]
"""Turns positions in a segment and their distances into hits, leaving out what is not allowed."""


@dataclass(frozen=True)
class SearchStats:
    """How one query was answered.

    Attributes:
        plan: the way taken, in words, for example "tables, radius 0 to 2".
        probes: buckets of hash tables that were looked up.
        candidates: codes whose distance was computed.
        seconds: wall-clock time; in a batch, an equal share of the whole.
        estimated_seconds: what the planner expected the way taken to cost.
    """

    plan: str
    probes: int
    candidates: int
    seconds: float
    estimated_seconds: float


@dataclass(frozen=True)
class Found:
    """The hits of one query, ordered by distance, then row.

    Attributes:
        rows: ``int64``, shape ``(hits,)``.
        distances: ``int32``, the same shape, in bits.
        stats: how the query was answered.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.int32]
    stats: SearchStats

    def __len__(self) -> int:
        """The number of hits."""
        return len(self.rows)


def pack_hits(distances: NDArray[Any], rows: NDArray[np.int64]) -> Hits:
    """Pack distances in bits and rows (0 to 2**52 - 1) into hits."""
    return distances.astype(np.uint64) << np.uint64(ROW_BITS) | rows.astype(np.uint64)


def unpack_hits(hits: Hits) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Rows and distances of hits."""
    rows = (hits & np.uint64((1 << ROW_BITS) - 1)).astype(np.int64)
    return rows, (hits >> np.uint64(ROW_BITS)).astype(np.int32)


class Ranking:
    """The best hits of one query so far.

    ``bound`` is the largest distance, in bits, that a hit may still have: the radius, or less once
    ``limit`` hits are in. A hit *at* the bound may still enter, for its row may be lower.
    """

    def __init__(self, bound: int, limit: int | None) -> None:
        """Start with no hits; ``limit`` None keeps every hit within ``bound``."""
        self.bound = bound
        self.limit = limit
        self._parts: list[Hits] = []
        self._size = 0

    def add(self, hits: Hits) -> None:
        """Take hits in, each at most once over the life of a ranking."""
        if not hits.size:
            return
        self._parts.append(hits)
        self._size += hits.size
        if self.limit is not None and self._size >= self.limit:
            best = np.partition(np.concatenate(self._parts), self.limit - 1)[: self.limit].copy()
            self._parts, self._size = [best], self.limit
            self.bound = min(self.bound, int(best[-1] >> np.uint64(ROW_BITS)))

    def hits(self) -> Hits:
        """The hits in their final order."""
        if not self._parts:
            return np.empty(0, dtype=np.uint64)
        return np.sort(np.concatenate(self._parts))
