"""The ranking by float distance that codes are compared with, and taken for the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.errors import InputError, UsageError
from hashret.evaluation.histograms import check_rows, number_labels
from hashret.evaluation.metrics import QUERY_BLOCK, RetrievalScores


class NearestVectors:
    """The nearest rows of each query by Euclidean distance, of a database that comes in blocks.

    Memory is that of the queries, their neighbours and one block.

    Args:
        queries: ``float32``, shape ``(n_queries, d)``.
        k: how many neighbours.
        own_rows: the row that each query leaves out, as when it is the query itself; -1 for none.

    Example:
        >>> nearest = NearestVectors(np.float32([[0.0], [5.0]]), k=1)
        >>> nearest.add(np.arange(3), np.float32([[1.0], [2.0], [4.0]]))
        >>> nearest.rows.tolist()
        [[0], [2]]
    """

    def __init__(
        self, queries: NDArray[np.float32], k: int, own_rows: ArrayLike | None = None
    ) -> None:
        """Start without neighbours."""
        if k < 1:
            raise UsageError(f"k must be at least 1, not {k}.")
        # Distances of float32 are differences of squares, exact near the origin only.
        self._centre = queries.mean(axis=0)
        self._queries = np.ascontiguousarray(queries - self._centre)
        self._k = k
        own = np.full(len(queries), -1) if own_rows is None else np.asarray(own_rows)
        self._own_rows = own[:, None]
        self.rows = np.empty((len(queries), 0), dtype=np.int64)
        self.distances = np.empty((len(queries), 0), dtype=np.float32)

    def add(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Take in a block of the database: row numbers ``(m,)`` and ``float32`` ``(m, d)``."""
        if not len(rows):
            return
        import faiss

        block = np.ascontiguousarray(vectors - self._centre)
        distances, places = faiss.knn(self._queries, block, min(self._k + 1, len(rows)))
        found = rows[places]
        distances = np.where(found == self._own_rows, np.inf, distances)
        distances = np.concatenate([self.distances, distances], axis=1)
        found = np.concatenate([self.rows, found], axis=1)
        # Sorted by row first, then stably by distance: ties go by row.
        order = np.argsort(found, axis=1, kind="stable")
        by_distance = np.argsort(
            np.take_along_axis(distances, order, axis=1), axis=1, kind="stable"
        )
        order = np.take_along_axis(order, by_distance, axis=1)[:, : self._k]
        self.distances = np.take_along_axis(distances, order, axis=1)
        found = np.take_along_axis(found, order, axis=1)
        self.rows = np.where(np.isinf(self.distances), -1, found)


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

    for k in (map_k, precision_k):
        if k < 1:
            raise UsageError(f"k must be at least 1, not {k}.")
    numbers, query_numbers = number_labels(labels, query_labels)
    check_rows("queries", queries, query_numbers)
    check_rows("database", database, numbers)
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
