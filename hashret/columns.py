"""Hits of a batch in columns: what a shard sends, read and sent in a fraction of the time of hits.

A hit of a :class:`~hashret.result.Result` is an object with its fields in a dictionary. Where most
hits of an answer are dropped, because those of other shards are nearer, making them is most of the
work. Columns hold what the store holds; fields stay JSON texts until somebody looks at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
