"""Whether two sides found the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarking.peer import Codes, Nearest, Within


class AnswersDifferError(Exception):
    """A search is not exact, or two sides were not asked the same."""


def check_order(found: Within) -> None:
    """Check that the hits of each query are ordered by distance, then row."""
    lims, rows, distances = found
    query = np.repeat(np.arange(len(lims) - 1), np.diff(lims))
    order = np.lexsort((rows, distances, query))
    _demand(bool((order == np.arange(len(order))).all()), "hits are out of order")


def check_within(ours: Within, theirs: Within) -> int:
    """Check that the same rows were found at the same distances; return how many queries."""
    n = min(len(ours[0]), len(theirs[0])) - 1
    for one, other in zip(_by_row(ours, n), _by_row(theirs, n), strict=True):
        _demand(np.array_equal(one, other), "the hits within a radius differ")
    return n


def check_nearest(ours: Nearest, theirs: Nearest, codes: Codes, queries: Codes) -> int:
    """Check distances against theirs and against the codes; return how many queries.

    Which of several rows at the last distance is returned may differ.
    """
    n = min(len(ours[0]), len(theirs[0]))
    _demand(np.array_equal(ours[0][:n], theirs[0][:n]), "the distances of the nearest differ")
    for distances, rows in (ours, theirs):
        for i in range(n):
            true = np.bitwise_count(codes[rows[i]] ^ queries[i]).sum(axis=1)
            _demand(np.array_equal(true, distances[i]), "a distance is wrong")
            _demand(len(np.unique(rows[i])) == len(rows[i]), "a row came twice")
    return n


def _by_row(found: Within, n: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    lims = np.asarray(found[0][: n + 1]).astype(np.int64)
    rows, distances = (np.asarray(part[: lims[-1]]).astype(np.int64) for part in found[1:])
    order = np.lexsort((rows, np.repeat(np.arange(n), np.diff(lims))))
    return lims, rows[order], distances[order]


def _demand(fine: bool, problem: str) -> None:
    if not fine:
        raise AnswersDifferError(problem)
