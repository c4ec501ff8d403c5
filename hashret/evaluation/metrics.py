"""How well codes retrieve what is relevant.

An item is relevant to a query when it has the query's label. Items at equal Hamming distance are
ties, which no order of rows should decide: every measure is its mean over all orders of the tied
items, in closed form (McSherry and Najork 2008, "Computing Information Retrieval Performance
Measures Efficiently in the Presence of Tied Scores").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes, as_codes, unpack
from hashret.errors import EncoderMismatchError, InputError, UsageError
from hashret.evaluation.kernels import count_by_distance, expected_average_precision

QUERY_BLOCK = 1000


@dataclass(frozen=True)
class Histograms:
    """For each query, how many items lie at each distance.

    Attributes:
        items: all items, ``int32``, shape ``(n_queries, n_bits + 1)``.
        relevant: the relevant ones among them, the same shape.
    """

    items: NDArray[np.int32]
    relevant: NDArray[np.int32]


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
class BucketStatistics:
    """How a set of codes fills a hash table.

    Attributes:
        buckets: distinct codes.
        mean_sharing: the other items in an item's bucket, mean over the items.
        largest: items in the fullest bucket.
        bit_entropy: mean entropy of a single bit over the items, in bits: 1 where ones and zeros
            are equally frequent.
    """

    buckets: int
    mean_sharing: float
    largest: int
    bit_entropy: float


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


def code_histograms(
    queries: Codes,
    database: Codes,
    query_labels: ArrayLike,
    labels: ArrayLike,
    own_rows: ArrayLike | None = None,
) -> Histograms:
    """Count items and relevant items by distance; the arguments are those of `score_codes`."""
    queries, database = as_codes(queries), as_codes(database)
    if queries.shape[1] != database.shape[1]:
        raise EncoderMismatchError(
            f"The queries have codes of {queries.shape[1] * 8} bits, the database has codes of "
            f"{database.shape[1] * 8} bits. Encode both by one hasher."
        )
    numbers, query_numbers = _number_labels(labels, query_labels)
    _check_rows("queries", queries, query_numbers)
    _check_rows("database", database, numbers)
    left_out = np.full(len(queries), -1) if own_rows is None else np.asarray(own_rows)
    _check_rows("queries", queries, left_out)
    items, relevant = count_by_distance(
        _words(queries),
        _words(database),
        query_numbers,
        numbers,
        left_out.astype(np.int64),
        database.shape[1] * 8,
    )
    return Histograms(items, relevant)


def average_precision(histograms: Histograms, k: int = 1000) -> NDArray[np.float64]:
    """Expected average precision of each query, shape ``(n_queries,)``.

    The sum of the precisions at the places, among the first ``k``, that hold a relevant item,
    divided by the most there could be: ``min(relevant, k)``. A query with nothing relevant has 0.
    """
    _check_places(k)
    return expected_average_precision(histograms.items, histograms.relevant, k)


def precision_at(histograms: Histograms, k: int = 100) -> NDArray[np.float64]:
    """Expected share of relevant items among the first ``k``, shape ``(n_queries,)``.

    With fewer than ``k`` items, the share among all of them.
    """
    _check_places(k)
    before = np.cumsum(histograms.items, axis=1) - histograms.items
    taken = np.clip(k - before, 0, histograms.items)
    share = histograms.relevant / np.maximum(histograms.items, 1)
    return (taken * share).sum(axis=1) / np.maximum(taken.sum(axis=1), 1)


def precision_within(histograms: Histograms, radius: int = 2) -> NDArray[np.float64]:
    """Share of relevant items within a radius, shape ``(n_queries,)``; 0 for an empty ball."""
    if radius < 0:
        raise UsageError(f"radius must be at least 0 bits, not {radius}.")
    items = histograms.items[:, : radius + 1].sum(axis=1)
    return histograms.relevant[:, : radius + 1].sum(axis=1) / np.maximum(items, 1)


def bucket_statistics(codes: Codes) -> BucketStatistics:
    """Describe how codes, ``uint8``, shape ``(n, n_bits / 8)``, fill a hash table.

    Raises:
        InputError: no codes.
    """
    codes = as_codes(codes)
    if not len(codes):
        raise InputError("Expected at least one code, got none.")
    rows = codes.view(np.dtype((np.void, codes.shape[1])))[:, 0]
    sizes = np.unique(rows, return_counts=True)[1]
    ones = np.zeros(codes.shape[1] * 8)
    for start in range(0, len(codes), 65536):
        ones += unpack(codes[start : start + 65536]).sum(axis=0)
    share = np.stack([ones, len(codes) - ones]) / len(codes)
    entropy = -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=0)
    return BucketStatistics(
        len(sizes),
        float((sizes.astype(np.float64) * (sizes - 1)).sum() / len(codes)),
        int(sizes.max()),
        float(entropy.mean()),
    )


def score_vectors(
    queries: NDArray[np.float32],
    database: NDArray[np.float32],
    query_labels: ArrayLike,
    labels: ArrayLike,
    *,
    map_k: int = 1000,
    precision_k: int = 100,
) -> RetrievalScores:
    """Score a ranking of float vectors by exact Euclidean distance, ties by row.

    Args:
        queries: ``float32``, shape ``(n_queries, d)``.
        database: ``float32``, shape ``(n, d)``.
        query_labels: one a query.
        labels: one a database row.
        map_k: the places that count in the mean average precision.
        precision_k: the places that count in the precision.

    Raises:
        InputError: arrays of unlike lengths or widths, or no rows.
        UsageError: a ``k`` below 1.
    """
    import faiss

    _check_places(map_k)
    _check_places(precision_k)
    numbers, query_numbers = _number_labels(labels, query_labels)
    _check_rows("queries", queries, query_numbers)
    _check_rows("database", database, numbers)
    if queries.shape[1] != database.shape[1]:
        raise InputError(
            f"The queries have {queries.shape[1]} features, the database has {database.shape[1]}."
        )
    index = faiss.IndexFlatL2(database.shape[1])
    index.add(np.ascontiguousarray(database, dtype=np.float32))
    depth = min(max(map_k, precision_k), len(database))
    possible = np.bincount(numbers, minlength=int(query_numbers.max()) + 1)[query_numbers]
    precision_sum = average_sum = 0.0
    for start in range(0, len(queries), QUERY_BLOCK):
        block = slice(start, start + QUERY_BLOCK)
        nearest = index.search(np.ascontiguousarray(queries[block], dtype=np.float32), depth)[1]
        hit = numbers[nearest] == query_numbers[block, None]
        precision_sum += hit[:, :precision_k].mean(axis=1).sum()
        hit = hit[:, :map_k]
        precisions = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
        most = np.maximum(np.minimum(possible[block], map_k), 1)
        average_sum += ((precisions * hit).sum(axis=1) / most).sum()
    return RetrievalScores(float(average_sum / len(queries)), float(precision_sum / len(queries)))


def _number_labels(
    labels: ArrayLike, query_labels: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = np.asarray(labels), np.asarray(query_labels)
    if first.ndim != 1 or second.ndim != 1:
        raise InputError(
            f"Labels are one value a row, shape (n,); got shapes {first.shape} and {second.shape}."
        )
    numbers = np.unique(np.concatenate([first, second]), return_inverse=True)[1].astype(np.int64)
    return numbers[: len(first)], numbers[len(first) :]


def _check_rows(name: str, rows: NDArray[np.generic], values: NDArray[np.int64]) -> None:
    if not len(rows) or values.shape != (len(rows),):
        raise InputError(
            f"Expected one value for each of the {len(rows)} {name} (at least 1), got "
            f"{len(values)}."
        )


def _check_places(k: int) -> None:
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}.")


def _words(codes: Codes) -> NDArray[np.uint64]:
    padded = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.view(np.uint64)
