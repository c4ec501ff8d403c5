"""What shards are asked and answer, and how their answers become one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import DamagedIndexError
from hashret.index.hit_columns import Bounds, HitColumns, StatsColumns
from hashret.index.ordering import Refinement, flip_costs
from hashret.index.result import Hit, Result
from hashret.search import SearchStats


@dataclass(frozen=True, slots=True)
class Question:
    """What every shard is asked, of a batch of codes at once.

    Attributes:
        codes: ``uint8``, ``(n, n_bits / 8)``.
        radius: in bits, inclusive; None lets rings grow.
        limit: the most hits a code; None for all within the radius.
        where: an SQL condition.
        refinement: how hits are ordered beyond their distance; those that are equal by key.
        patience: seconds after which the condition is given up; None for never.
        bounds: of each code, where it is known how far its last hit is.
        name: of a question that is asked for distances first, by which a reader knows it again.
        encoder: the fingerprint of that which made the codes.
    """

    codes: Codes
    radius: int | None
    limit: int | None
    where: str | None
    refinement: Refinement
    patience: float | None = None
    bounds: Bounds | None = None
    name: int = 0
    encoder: str = ""

    @property
    def most(self) -> int | None:
        """The most hits of a code that matter: of a shortlist, all, for it is cut once joined."""
        wanted = self.refinement
        return self.limit if wanted.vectors is None else wanted.shortlist


@dataclass(frozen=True, slots=True)
class ShardAnswer:
    """The hits of one shard, and the seconds that they took there."""

    columns: HitColumns
    seconds: float


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the nearest items of each code are in one shard.

    Attributes:
        counts: how many there are of each code, ``int64``.
        distances: those of the first code, those of the second, ..., each ascending; ``int16``.
        seconds: that it took.
    """

    counts: NDArray[np.int64]
    distances: NDArray[np.int16]
    seconds: float


def bounds_of(question: Question, reaches: Sequence[Reach]) -> Bounds:
    """The distance of the last hit that each code can have, from what its shards reach."""
    n = len(question.codes)
    most = question.most or 1
    n_bits = question.codes.shape[1] * 8
    radius = n_bits if question.radius is None else min(question.radius, n_bits)
    query = np.concatenate([np.repeat(np.arange(n), one.counts) for one in reaches])
    distances = np.concatenate([one.distances for one in reaches])
    order = np.lexsort((distances, query))
    counts = np.bincount(query, minlength=n)
    last = np.cumsum(counts) - counts + most - 1
    bounds = np.full(n, radius, dtype=np.int64)
    full = counts >= most
    bounds[full] = distances[order[last[full]]]
    nearer = np.bincount(query[distances < bounds[query]], minlength=n)
    # Where there are not as many as asked for, all are.
    return Bounds(bounds, np.where(full, most - nearer, np.iinfo(np.int64).max))


def falls_short(question: Question, answers: Mapping[int, ShardAnswer]) -> bool:
    """Whether hits are missing within the bounds: of what they were found by, some was removed."""
    bounds, most = question.bounds, question.most
    if bounds is None or most is None:
        return False
    n = len(question.codes)
    hits, nearer = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for one in answers.values():
        query = np.repeat(np.arange(n), np.diff(one.columns.lims))
        is_nearer = one.columns.distances < bounds.distances[query]
        hits += np.bincount(query, minlength=n)
        nearer += np.bincount(query[is_nearer], minlength=n)
    full = bounds.needs <= most
    return bool((full & ((hits < most) | (nearer < most - bounds.needs))).any())


def merged(
    question: Question,
    answers: Mapping[int, ShardAnswer],
    limit: int | None,
    missing: tuple[str, ...],
    seconds: float,
) -> list[Result]:
    """One result for each code, as one index over the items of all shards gives it by key.

    Hits come by distance, then cost where certainty orders them, then key. Re-ranked, the shortlist
    of all shards is cut to its length in that order, and what is left comes by vector distance.

    Args:
        question: what the shards were asked.
        answers: of each shard, by its number.
        limit: the most hits of a result.
        missing: the names of shards that did not answer.
        seconds: that the round took.
    """
    n = len(question.codes)
    shards = [one.columns for _, one in sorted(answers.items())]
    order, lims = _order(question, shards, limit)
    hits = _hits(shards, order, lims, question.codes.shape[1] * 8)
    stats = _stats([one.stats for one in shards], n, seconds / n)
    reranked = question.refinement.vectors is not None
    ends = lims.tolist()
    return [
        Result(
            code,
            hits[start:end],
            one,
            radius=question.radius,
            limit=limit,
            reranked=reranked,
            missing_shards=missing,
        )
        for code, start, end, one in zip(question.codes, ends[:-1], ends[1:], stats, strict=True)
    ]


def _order(
    question: Question, shards: Sequence[HitColumns], limit: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places, in all columns one after the other, of the hits of each result in their order.

    Returns:
        The places, and ``lims``: those of result q are ``places[lims[q]:lims[q + 1]]``.
    """
    n = len(question.codes)
    query = _joined([np.repeat(np.arange(n), np.diff(one.lims)) for one in shards], np.int64)
    distances = _joined([one.distances for one in shards], np.int32)
    keys = [key for one in shards for key in one.keys]
    rank = np.empty(len(keys), dtype=np.int64)
    rank[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    logits = question.refinement.logits
    costs = [] if logits is None else [_costs(question.codes, shards, query, logits)]
    order = np.lexsort((rank, *costs, distances, query))
    if question.refinement.vectors is not None:
        order = _first(order, query, question.refinement.shortlist)
        far = _joined(
            [one.vector_distances for one in shards if one.vector_distances is not None],
            np.float64,
        )
        order = order[np.lexsort((far[order], query[order]))]
    order = _first(order, query, limit)
    lims = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(query[order], minlength=n), out=lims[1:])
    return order, lims


def _first(
    order: NDArray[np.int64], query: NDArray[np.int64], most: int | None
) -> NDArray[np.int64]:
    """The first so many of each query."""
    if most is None:
        return order
    own = query[order]
    return order[np.arange(len(own)) - np.searchsorted(own, own) < most]


def _costs(
    codes: Codes,
    shards: Sequence[HitColumns],
    query: NDArray[np.int64],
    logits: NDArray[np.float32],
) -> NDArray[np.float64]:
    if not shards:
        return np.empty(0)
    found = np.concatenate([one.codes for one in shards])
    costs = np.empty(len(query))
    for q in range(len(codes)):
        own = query == q
        costs[own] = flip_costs(codes[q], found[own], logits[q])
    return costs


def _hits(
    shards: Sequence[HitColumns], order: NDArray[np.int64], lims: NDArray[np.int64], n_bits: int
) -> list[Hit]:
    """The hits at these places, those of each result ranked from 1."""
    places = order.tolist()
    distances = _joined([one.distances for one in shards], np.int32)[order]
    keys = [key for one in shards for key in one.keys]
    texts = [text for one in shards for text in one.fields]
    locations = [location for one in shards for location in one.locations]
    codes = np.concatenate([one.codes for one in shards] or [np.empty((0, n_bits // 8), np.uint8)])
    far: list[float] | None = None
    if any(one.vector_distances is not None for one in shards):
        far = np.concatenate([one.vector_distances for one in shards])[order].tolist()
    ranks = np.arange(1, len(order) + 1) - np.repeat(lims[:-1], np.diff(lims))
    return list(
        map(
            Hit,
            ranks.tolist(),
            [keys[place] for place in places],
            distances.tolist(),
            (1 - distances / n_bits).tolist(),
            codes[order],
            _parsed([texts[place] for place in places]),
            [locations[place] for place in places],
            repeat(None) if far is None else far,
        )
    )


def _parsed(texts: Sequence[str]) -> list[dict[str, Any]]:
    try:
        values: list[Any] = json.loads(f"[{','.join(texts)}]")
    except ValueError:
        values = []
    if len(values) != len(texts) or not all(isinstance(one, dict) for one in values):
        raise DamagedIndexError(
            "The fields of items of a shard are damaged: `hashret verify` of each shard names them."
        )
    return values


def _joined(columns: Sequence[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(columns) if columns else np.empty(0, kind)


def _stats(shards: Sequence[StatsColumns], n: int, seconds: float) -> list[SearchStats]:
    """What the shards did for each code; the plan is that of the slowest."""
    if not shards:
        return [SearchStats("0 shards, the slowest by nothing", 0, 0, seconds, 0.0)] * n
    numbers = np.stack([one.numbers for one in shards])
    slowest = numbers[:, :, 2].argmax(axis=0).tolist()
    plans = [
        [f"{len(shards)} shards, the slowest by {plan}" for plan in one.plans] for one in shards
    ]
    taken = np.stack([one.plan for one in shards]).T.tolist()
    probes, candidates = numbers[:, :, :2].sum(axis=0).astype(np.int64).T.tolist()
    estimated = numbers[:, :, 3].max(axis=0).tolist()
    return [
        SearchStats(plans[slow][taken[q][slow]], probes[q], candidates[q], seconds, estimated[q])
        for q, slow in enumerate(slowest)
    ]
