"""What shards answer, in columns, and how their answers become one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.ordering import Refinement, flip_costs
from hashret.result import Hit, Result
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
    """

    codes: Codes
    radius: int | None
    limit: int | None
    where: str | None
    refinement: Refinement
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class ShardAnswer:
    """The hits of one shard; those of code q are ``lims[q]:lims[q + 1]``.

    Attributes:
        lims: ``int64``, ``(n + 1,)``.
        distances: ``int32``, in bits.
        vector_distances: ``float64``; None where the answer is not re-ranked.
        codes: ``uint8``, ``(hits, n_bits / 8)``.
        keys: of the hits.
        fields: of the hits, JSON texts.
        locations: of the hits.
        stats: of each code.
    """

    lims: NDArray[np.int64]
    distances: NDArray[np.int32]
    vector_distances: NDArray[np.float64] | None
    codes: Codes
    keys: list[str]
    fields: list[str]
    locations: list[str | None]
    stats: list[SearchStats]


def in_columns(results: Sequence[Result], n_bytes: int) -> ShardAnswer:
    """The answer of one index as columns, which are sent more quickly than hits."""
    hits = [hit for result in results for hit in result]
    reranked = any(result.reranked for result in results)
    return ShardAnswer(
        np.cumsum([0, *map(len, results)], dtype=np.int64),
        np.array([hit.distance for hit in hits], dtype=np.int32),
        np.array([hit.vector_distance for hit in hits], dtype=np.float64) if reranked else None,
        np.frombuffer(b"".join(hit.code.tobytes() for hit in hits), np.uint8).reshape(-1, n_bytes),
        [hit.key for hit in hits],
        [json.dumps(hit.fields) for hit in hits],
        [hit.location for hit in hits],
        [result.stats for result in results],
    )


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
    logits = question.refinement.logits
    return [
        _one(
            question,
            answers,
            q,
            None if logits is None else logits[q],
            limit,
            missing,
            seconds / len(question.codes),
        )
        for q in range(len(question.codes))
    ]


def _one(
    question: Question,
    answers: Mapping[int, ShardAnswer],
    q: int,
    logits: NDArray[np.float32] | None,
    limit: int | None,
    missing: tuple[str, ...],
    seconds: float,
) -> Result:
    code = question.codes[q]
    found: list[tuple[int, float, str, int, int]] = []
    for shard, answer in answers.items():
        start, end = int(answer.lims[q]), int(answer.lims[q + 1])
        own = slice(start, end)
        costs: Iterable[float] = (
            [0.0] * (end - start)
            if logits is None
            else flip_costs(code, answer.codes[own], logits).tolist()
        )
        found.extend(
            zip(
                answer.distances[own].tolist(),
                costs,
                answer.keys[own],
                [shard] * (end - start),
                range(start, end),
                strict=True,
            )
        )
    found.sort()
    refinement = question.refinement
    if refinement.vectors is not None:
        found = found[: refinement.shortlist]
        found.sort(key=lambda one: _vector_distance(answers[one[3]], one[4]) or 0.0)
    hits = [_hit(rank, one, answers[one[3]]) for rank, one in enumerate(found[:limit], start=1)]
    return Result(
        code,
        hits,
        _all_of([answer.stats[q] for answer in answers.values()], seconds),
        radius=question.radius,
        limit=limit,
        reranked=refinement.vectors is not None,
        missing_shards=missing,
    )


def _hit(rank: int, found: tuple[int, float, str, int, int], answer: ShardAnswer) -> Hit:
    distance, _, key, _, place = found
    code = answer.codes[place]
    return Hit(
        rank,
        key,
        distance,
        1 - distance / (code.size * 8),
        code,
        json.loads(answer.fields[place]),
        answer.locations[place],
        _vector_distance(answer, place),
    )


def _vector_distance(answer: ShardAnswer, place: int) -> float | None:
    return None if answer.vector_distances is None else float(answer.vector_distances[place])


def _all_of(stats: Sequence[SearchStats], seconds: float) -> SearchStats:
    """What the shards did for one code; the plan is that of the slowest."""
    slowest = max(stats, key=lambda one: one.seconds, default=None)
    plan = "nothing" if slowest is None else slowest.plan
    return SearchStats(
        plan=f"{len(stats)} shards, the slowest by {plan}",
        probes=sum(one.probes for one in stats),
        candidates=sum(one.candidates for one in stats),
        seconds=seconds,
        estimated_seconds=max((one.estimated_seconds for one in stats), default=0.0),
    )
