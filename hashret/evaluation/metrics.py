"""How well codes retrieve what is relevant.

Items at equal Hamming distance are ties, which no order of rows should decide: every measure is
its mean over all orders of the tied items, in closed form (McSherry and Najork 2008, "Computing
Information Retrieval Performance Measures Efficiently in the Presence of Tied Scores").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import UsageError
from hashret.evaluation.histograms import Histograms, code_histograms

QUERY_BLOCK = 1000


@dataclass(frozen=True)
class RetrievalScores:
    """Means over the queries.

    Attributes:
        mean_average_precision: mAP among the first ``map_k`` items (1,000 by default).
        precision: share of relevant items among the first ``precision_k`` (100 by default).
        ball_precision: share of relevant items within the radius; an empty ball counts 0. None
            for float vectors.
        empty_balls: share of queries with no item within the radius. None for float vectors.
    """

    mean_average_precision: float
    precision: float
    ball_precision: float | None = None
    empty_balls: float | None = None


@dataclass(frozen=True)
class RadiusCurve:
    """What lies within each radius, means over the queries, by radius from 0 to ``n_bits``.

    Attributes:
        precision: share of relevant items; an empty ball counts 0.
        recall: share of the relevant items found, over the queries that have any.
        items: items within the radius.
        empty: share of the queries with no item within it.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    items: NDArray[np.float64]
    empty: NDArray[np.float64]


def score_codes(
    queries: Codes,
    database: Codes,
    query_labels: ArrayLike,
    labels: ArrayLike,
    *,
    own_rows: ArrayLike | None = None,
    map_k: int = 1000,
    precision_k: int = 100,
    radius: int = 2,
) -> RetrievalScores:
    """Score a ranking of a database by Hamming distance.

    Args:
        queries: ``uint8`` codes, shape ``(n_queries, n_bits / 8)``.
        database: ``uint8`` codes, shape ``(n, n_bits / 8)``.
        query_labels: one a query.
        labels: one a database row.
        own_rows: the database row that each query leaves out, as when it is the query itself; -1
            for none.
        map_k: the places that count in the mean average precision.
        precision_k: the places that count in the precision.
        radius: of the ball, inclusive, in bits.

    Raises:
        InputError: arrays of unlike lengths, or no rows.
        EncoderMismatchError: codes of two lengths.
        UsageError: a ``k`` below 1 or a negative radius.
    """
    histograms = code_histograms(queries, database, query_labels, labels, own_rows)
    ball = precision_within(histograms, radius)
    return RetrievalScores(
        float(average_precision(histograms, map_k).mean()),
        float(precision_at(histograms, precision_k).mean()),
        float(ball.mean()),
        float((histograms.items[:, : radius + 1].sum(axis=1) == 0).mean()),
    )


def average_precision(histograms: Histograms, k: int | None = 1000) -> NDArray[np.float64]:
    """Expected average precision of each query, shape ``(n_queries,)``.

    The sum of the precisions at the places, among the first ``k``, that hold a relevant item,
    divided by the most there could be: ``min(relevant, k)``. A query with nothing relevant has 0.

    At place ``j`` of a ring of ``size`` items, ``hits`` of them relevant, an item is relevant with
    probability ``hits / size``; given that it is, the ``j - 1`` places before it hold
    ``(j - 1) (hits - 1) / (size - 1)`` relevant items on average. Over the places of a ring the
    expected precisions then sum to a difference of harmonic numbers.

    Args:
        histograms: items by distance.
        k: the places that count; None for all.
    """
    if k is not None:
        _check_places(k)
    harmonic = _harmonic_numbers(int(histograms.items.sum(axis=1, dtype=np.int64).max()))
    result = np.empty(len(histograms.items))
    for start in range(0, len(result), QUERY_BLOCK):
        block = slice(start, start + QUERY_BLOCK)
        items = histograms.items[block].astype(np.int64)
        hits = histograms.relevant[block].astype(np.int64)
        taken, before = _taken(items, k)
        found = np.cumsum(hits, axis=1) - hits
        slope = (hits - 1) / np.maximum(items - 1, 1)
        precisions = taken * slope + (found + 1 - slope * (before + 1)) * (
            harmonic[np.minimum(before + taken, len(harmonic) - 1)] - harmonic[before]
        )
        share = hits / np.maximum(items, 1)
        total = hits.sum(axis=1)
        most = total if k is None else np.minimum(total, k)
        result[block] = (precisions * share).sum(axis=1) / np.maximum(most, 1)
    return result


def precision_at(histograms: Histograms, k: int = 100) -> NDArray[np.float64]:
    """Expected share of relevant items among the first ``k``, shape ``(n_queries,)``.

    With fewer than ``k`` items, the share among all of them.
    """
    found, taken = _found_at(histograms, k)
    return found / np.maximum(taken, 1)


def recall_at(histograms: Histograms, k: int = 100) -> NDArray[np.float64]:
    """Expected share of the relevant items that are among the first ``k``; 0 where none are.

    With `neighbour_histograms` of the 10 nearest by float distance, this is the share of them that
    a shortlist of ``k`` codes keeps, for a ranking by the floats to choose from.
    """
    return _found_at(histograms, k)[0] / np.maximum(histograms.relevant.sum(axis=1), 1)


def precision_within(histograms: Histograms, radius: int = 2) -> NDArray[np.float64]:
    """Share of relevant items within a radius, shape ``(n_queries,)``; 0 for an empty ball."""
    _check_radius(radius)
    items = histograms.items[:, : radius + 1].sum(axis=1)
    return histograms.relevant[:, : radius + 1].sum(axis=1) / np.maximum(items, 1)


def recall_within(histograms: Histograms, radius: int = 2) -> NDArray[np.float64]:
    """Share of the relevant items that lie within a radius, ``(n_queries,)``; 0 without any."""
    _check_radius(radius)
    found = histograms.relevant[:, : radius + 1].sum(axis=1)
    return found / np.maximum(histograms.relevant.sum(axis=1), 1)


def radius_curve(histograms: Histograms) -> RadiusCurve:
    """Precision and recall within every radius from 0 to ``n_bits``."""
    items = np.cumsum(histograms.items, axis=1, dtype=np.int64)
    found = np.cumsum(histograms.relevant, axis=1, dtype=np.int64)
    answerable = found[:, -1] > 0
    recall = found[answerable] / found[answerable, -1:]
    return RadiusCurve(
        precision=(found / np.maximum(items, 1)).mean(axis=0),
        recall=recall.mean(axis=0) if len(recall) else np.zeros(items.shape[1]),
        items=items.mean(axis=0),
        empty=(items == 0).mean(axis=0),
    )


def _found_at(histograms: Histograms, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The relevant items expected among the first ``k``, and how many places these are."""
    _check_places(k)
    taken, _ = _taken(histograms.items.astype(np.int64), k)
    share = histograms.relevant / np.maximum(histograms.items, 1)
    return (taken * share).sum(axis=1), taken.sum(axis=1)


def _taken(items: NDArray[np.int64], k: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of the first ``k`` places each ring fills, and how many places lie before it."""
    before = np.cumsum(items, axis=1) - items
    return (items if k is None else np.clip(k - before, 0, items)), before


def _harmonic_numbers(n: int) -> NDArray[np.float64]:
    """``1 + 1/2 + ... + 1/i`` for ``i`` from 0 to ``n``."""
    numbers = np.zeros(n + 1)
    np.cumsum(1 / np.arange(1, n + 1), out=numbers[1:])
    return numbers


def _check_places(k: int) -> None:
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}.")


def _check_radius(radius: int) -> None:
    if radius < 0:
        raise UsageError(f"radius must be at least 0 bits, not {radius}.")
