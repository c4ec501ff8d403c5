"""Items by Hamming distance, of which every measure is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes, as_codes, hamming
from hashret.errors import EncoderMismatchError, InputError
from hashret.evaluation.kernels import count_by_distance


@dataclass(frozen=True)
class Histograms:
    """For each query, how many items lie at each distance.

    Attributes:
        items: all items, ``int32``, shape ``(n_queries, n_bits + 1)``.
        relevant: the relevant ones among them, the same shape.
    """

    items: NDArray[np.int32]
    relevant: NDArray[np.int32]


def code_histograms(
    queries: Codes,
    database: Codes,
    query_labels: ArrayLike,
    labels: ArrayLike,
    own_rows: ArrayLike | None = None,
) -> Histograms:
    """Count items and relevant items by distance; an item is relevant with the query's label.

    Args:
        queries: ``uint8`` codes, shape ``(n_queries, n_bits / 8)``.
        database: ``uint8`` codes, shape ``(n, n_bits / 8)``.
        query_labels: one a query.
        labels: one a database row.
        own_rows: the database row that each query leaves out, as when it is the query itself; -1
            for none.

    Raises:
        InputError: arrays of unlike lengths, or no rows.
        EncoderMismatchError: codes of two lengths.
    """
    queries, database = _checked(queries, database)
    numbers, query_numbers = number_labels(labels, query_labels)
    check_rows("queries", queries, query_numbers)
    check_rows("database", database, numbers)
    left_out = np.full(len(queries), -1) if own_rows is None else np.asarray(own_rows)
    check_rows("queries", queries, left_out)
    items, relevant = count_by_distance(
        _words(queries),
        _words(database),
        query_numbers,
        numbers,
        left_out.astype(np.int64),
        database.shape[1] * 8,
    )
    return Histograms(items, relevant)


def neighbour_histograms(
    queries: Codes,
    database: Codes,
    neighbours: NDArray[np.int64],
    own_rows: ArrayLike | None = None,
) -> Histograms:
    """Count items by distance, where given rows are the relevant ones.

    Args:
        queries: ``uint8`` codes, shape ``(n_queries, n_bits / 8)``.
        database: ``uint8`` codes, shape ``(n, n_bits / 8)``.
        neighbours: the database rows that are relevant to each query, shape ``(n_queries, k)``,
            such as its nearest neighbours by float distance; -1 where there are fewer.
        own_rows: as for `code_histograms`.

    Raises:
        InputError: arrays of unlike lengths, or no rows.
        EncoderMismatchError: codes of two lengths.
    """
    nothing = code_histograms(
        queries, database, np.ones(len(queries)), np.zeros(len(database)), own_rows
    )
    if neighbours.ndim != 2 or len(neighbours) != len(queries):
        raise InputError(
            f"Expected neighbours of shape ({len(queries)}, k), got {neighbours.shape}."
        )
    distances = hamming(queries[:, None], database[neighbours])
    relevant = np.zeros_like(nothing.items)
    of_query = np.repeat(np.arange(len(queries)), neighbours.shape[1])
    real = neighbours.ravel() >= 0
    np.add.at(relevant, (of_query[real], distances.ravel()[real]), 1)
    return Histograms(nothing.items, relevant)


def number_labels(
    labels: ArrayLike, query_labels: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels as numbers, equal where the labels are.

    Raises:
        InputError: not one label a row.
    """
    first, second = np.asarray(labels), np.asarray(query_labels)
    if first.ndim != 1 or second.ndim != 1:
        raise InputError(
            f"Labels are one value a row, shape (n,); got shapes {first.shape} and {second.shape}."
        )
    numbers = np.unique(np.concatenate([first, second]), return_inverse=True)[1].astype(np.int64)
    return numbers[: len(first)], numbers[len(first) :]


def check_rows(name: str, rows: NDArray[np.generic], values: NDArray[np.int64]) -> None:
    """Refuse no rows, or other than one value for each.

    Raises:
        InputError: as said.
    """
    if not len(rows) or values.shape != (len(rows),):
        raise InputError(
            f"Expected one value for each of the {len(rows)} {name} (at least 1), got "
            f"{len(values)}."
        )


def _checked(queries: Codes, database: Codes) -> tuple[Codes, Codes]:
    queries, database = as_codes(queries), as_codes(database)
    if queries.shape[1] != database.shape[1]:
        raise EncoderMismatchError(
            f"The queries have codes of {queries.shape[1] * 8} bits, the database has codes of "
            f"{database.shape[1] * 8} bits. Encode both by one hasher."
        )
    return queries, database


def _words(codes: Codes) -> NDArray[np.uint64]:
    padded = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.view(np.uint64)
