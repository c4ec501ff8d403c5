"""Hits of a batch in columns: what a shard sends, read and sent in a fraction of the time of hits.

A hit of a :class:`~hashret.index.result.Result` is an object with its fields in a dictionary. Where
most hits of an answer are dropped, because those of other shards are nearer, making them is most of
the work. Columns hold what the store holds; fields stay JSON texts until somebody looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, hamming
from hashret.errors import DamagedIndexError
from hashret.search import Found
from hashret.store import ItemReader, Record

RECORDS_AT_A_TIME = 4096


@dataclass(frozen=True, slots=True)
class StatsColumns:
    """How each query was answered; see :class:`~hashret.search.SearchStats`.

    Attributes:
        plans: the ways that were taken, in words.
        plan: of each query, its place in ``plans``.
        numbers: ``float64``, ``(nq, 4)``: probes, candidates, seconds, estimated seconds.
    """

    plans: tuple[str, ...]
    plan: NDArray[np.int32]
    numbers: NDArray[np.float64]

    @classmethod
    def of(cls, founds: Sequence[Found]) -> StatsColumns:
        """Those of what was found for each query."""
        plans: dict[str, int] = {}
        plan = [plans.setdefault(one.stats.plan, len(plans)) for one in founds]
        numbers = [
            (one.stats.probes, one.stats.candidates, one.stats.seconds, one.stats.estimated_seconds)
            for one in founds
        ]
        return cls(
            tuple(plans),
            np.array(plan, dtype=np.int32),
            np.array(numbers, dtype=np.float64).reshape(-1, 4),
        )


@dataclass(frozen=True, slots=True)
class HitColumns:
    """The hits of a batch of queries; those of query q are ``lims[q]:lims[q + 1]``.

    Attributes:
        lims: ``int64``, ``(nq + 1,)``.
        distances: ``int32``, in bits.
        codes: ``uint8``, ``(hits, n_bits / 8)``.
        keys: of the hits.
        fields: of the hits, as JSON texts.
        locations: of the hits; None where they came from Python.
        vector_distances: ``float64``; None where the answer is not re-ranked.
        stats: of each query.
    """

    lims: NDArray[np.int64]
    distances: NDArray[np.int32]
    codes: Codes
    keys: list[str]
    fields: list[str]
    locations: list[str | None]
    vector_distances: NDArray[np.float64] | None
    stats: StatsColumns


@dataclass(frozen=True, slots=True)
class Nearest:
    """What was found near a batch of codes in one state of a store.

    Attributes:
        commit: the name of the state.
        limit: at most so many for each code.
        founds: of each code.
    """

    commit: str
    limit: int
    founds: Sequence[Found]

    def within(self, bounds: NDArray[np.int64]) -> dict[int, Found]:
        """By the place of a code, all within its bound; without those of which more may be."""
        whole: dict[int, Found] = {}
        for q, (one, bound) in enumerate(zip(self.founds, bounds.tolist(), strict=True)):
            end = int(one.distances.searchsorted(bound, side="right"))
            if end < self.limit:
                whole[q] = Found(one.rows[:end], one.distances[:end], one.stats)
        return whole


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of the last hit of each code before an item is read.

    Attributes:
        distances: of the last hit, ``int64``, ``(n,)``: nothing beyond it is asked for.
        needs: how many hits at that distance are asked for, ``int64``: the first by cost and key.
    """

    distances: NDArray[np.int64]
    needs: NDArray[np.int64]


def without_later_ties(
    founds: Sequence[Found], bounds: Bounds, rank: Callable[[NDArray[np.int64], int], Any]
) -> list[Found]:
    """The same without those hits at the last distance that are too many, as far as ranks tell.

    Args:
        founds: of each code, all within its bound.
        bounds: see :class:`Bounds`.
        rank: rows, and how many of them are too many -> their ranks by key, or None.
    """
    query = np.repeat(np.arange(len(founds)), [len(one) for one in founds])
    distances = np.concatenate([one.distances for one in founds])
    last = np.flatnonzero(distances == bounds.distances[query])
    counts = np.bincount(query[last], minlength=len(founds))
    surplus = int(np.maximum(counts - bounds.needs, 0).sum())
    rows = np.concatenate([one.rows for one in founds])
    ranks = rank(rows[last], surplus) if surplus else None
    if ranks is None:
        return list(founds)
    own = query[last]
    order = np.lexsort((ranks, own))
    place = np.arange(len(own)) - np.searchsorted(own, own)
    keep = np.ones(len(rows), dtype=bool)
    keep[last[order]] = place < bounds.needs[own]
    ends = np.cumsum(np.bincount(query[keep], minlength=len(founds)))[:-1]
    pairs = zip(np.split(rows[keep], ends), np.split(distances[keep], ends), founds, strict=True)
    return [Found(some, far, one.stats) for some, far, one in pairs]


def read_columns(store: ItemReader, queries: Codes, founds: Sequence[Found]) -> HitColumns:
    """What the store holds of the hits of each query, in the order in which they were found.

    Call it while ``store`` holds the state in which they were found.

    Raises:
        DamagedIndexError: an item is not there, does not match its checksum, or lies at another
            distance than it was found at.
    """
    lims = np.cumsum([0, *map(len, founds)], dtype=np.int64)
    rows = np.concatenate([one.rows for one in founds] or [np.empty(0, np.int64)])
    distances = np.concatenate([one.distances for one in founds] or [np.empty(0, np.int32)])
    known = _records(store, np.unique(rows))
    records = [known.get(row) for row in rows.tolist()]
    n_bytes = queries.shape[1]
    codes = b"".join(
        [
            one[2] if one is not None and len(one[2]) == n_bytes else bytes(n_bytes)
            for one in records
        ]
    )
    matrix = np.frombuffer(codes, dtype=np.uint8).reshape(-1, n_bytes)
    asked = queries.repeat(np.diff(lims), axis=0)
    wrong = np.flatnonzero(hamming(matrix, asked) != distances).tolist()
    wrong += [place for place, one in enumerate(records) if one is None or len(one[2]) != n_bytes]
    if wrong:
        raise DamagedIndexError(
            f"{store.path.parent / 'segments'} does not agree with items.db about row "
            f"{rows[wrong[0]]}."
        )
    whole = [one for one in records if one is not None]
    return HitColumns(
        lims,
        distances,
        matrix,
        [one[1] for one in whole],
        [one[3] for one in whole],
        [one[4] for one in whole],
        None,
        StatsColumns.of(founds),
    )


def _records(store: ItemReader, rows: NDArray[np.int64]) -> dict[int, Record]:
    found: dict[int, Record] = {}
    for start in range(0, len(rows), RECORDS_AT_A_TIME):
        some = store.records_of(rows[start : start + RECORDS_AT_A_TIME])
        found |= {record[0]: record for record in some}
    return found
