"""Orders of hits that look closer than the Hamming distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import UsageError
from hashret.search import CodeIndex, Found, SearchStats, search_many

Order = Literal["row", "key", "certainty"]
ORDERS: tuple[Order, ...] = ("row", "key", "certainty")

FirstByKey = Callable[[NDArray[np.int64], int], NDArray[np.int64]]
"""Rows and a number -> the places among them, ascending, of those so many whose keys come first."""

_NO_SHORTLIST = "A shortlist is what rerank re-orders: ask for both, or for neither."

SHORTLIST = 100
SHORTLIST_FACTOR = 10
"""A shortlist is so many times as long as the answer, and no shorter than ``SHORTLIST``."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """How the hits of a search are ordered beyond their Hamming distance.

    Attributes:
        logits: of the queries, ``float32``, ``(nq, n_bits)``: hits at one distance are ordered by
            how certain the bits are in which they differ. None orders them by row.
        vectors: feature rows of the queries, ``float32``, ``(nq, d)``: the shortlist is ordered by
            the Euclidean distance to the kept vectors. None leaves it as it is.
        shortlist: how many of the nearest by Hamming distance are re-ordered; None for all.
        by_key: hits that are equal so far are ordered by key; else by row.
    """

    logits: NDArray[np.float32] | None = None
    vectors: NDArray[np.float32] | None = None
    shortlist: int | None = None
    by_key: bool = False


IN_ROW_ORDER = Refinement()


def check_order(order: str) -> None:
    """Refuse an order that there is not.

    Raises:
        UsageError: the name is none of ``ORDERS``.
    """
    if order not in ORDERS:
        raise UsageError(f"order must be one of {', '.join(ORDERS)}, not {order!r}.")


def check_order_without_logits(order: str, asked: str) -> None:
    """Refuse an order that takes the logits of a value, where there is none.

    Raises:
        UsageError: ``order`` is ``"certainty"``, or none at all.
    """
    check_order(order)
    if order == "certainty":
        raise UsageError(
            f"order={order!r} needs the logits of a value, and {asked} has none; query with the "
            "value itself, or in the order of rows or keys."
        )


def check_no_rerank(rerank: bool, shortlist: int | None) -> None:
    """Refuse to re-rank by a code.

    Raises:
        UsageError: ``rerank``, or a shortlist.
    """
    if rerank:
        raise UsageError(
            "rerank compares features, and a code has none; query with a value or a key."
        )
    if shortlist is not None:
        raise UsageError(_NO_SHORTLIST)


def refined(
    logits: NDArray[np.float32] | None,
    vectors: NDArray[np.float32] | None,
    limit: int | None,
    shortlist: int | None,
    *,
    by_key: bool = False,
) -> Refinement:
    """The refinement that a query asks for.

    Args:
        logits: see :class:`Refinement`.
        vectors: see :class:`Refinement`.
        limit: the most hits in the answer; None for all within the radius.
        shortlist: None for ``max(100, 10 * limit)``, or for all where there is no limit.
        by_key: see :class:`Refinement`.

    Raises:
        UsageError: a shortlist that is no number of at least 1, is shorter than the answer, or is
            given without vectors.
    """
    if vectors is None:
        if shortlist is not None:
            raise UsageError(_NO_SHORTLIST)
        return Refinement(logits, by_key=by_key)
    for name, number in (("limit", limit), ("shortlist", shortlist)):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise UsageError(f"{name} must be an integer of at least 1, not {number!r}.")
    if shortlist is None:
        length = None if limit is None else max(SHORTLIST, SHORTLIST_FACTOR * limit)
        return Refinement(logits, vectors, length, by_key)
    if limit is not None and shortlist < limit:
        raise UsageError(
            f"A shortlist of {shortlist} cannot give {limit} hits: make it longer than the limit."
        )
    return Refinement(logits, vectors, shortlist, by_key)


def flip_costs(code: Codes, codes: Codes, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much certainty it takes to flip a query's bits into each of the codes.

    The sum of ``|logit|`` over the bits that differ: what the query's encoder was less sure of
    costs less. This ranks by the query alone (asymmetric, as in Gordo et al., "Asymmetric distances
    for binary embeddings", TPAMI 2014) and stores nothing.

    Args:
        code: of the query, ``uint8``, ``(n_bits / 8,)``.
        codes: ``uint8``, ``(n, n_bits / 8)``.
        logits: of the query, ``float32``, ``(n_bits,)``.

    Returns:
        ``float64``, ``(n,)``; equal codes have equal sums to the last bit.

    Example:
        >>> code, other = np.array([0b11000000], np.uint8), np.array([[0b00000001]], np.uint8)
        >>> flip_costs(code, other, np.array([3, 0.5, -1, -1, -1, -1, -1, -2], np.float32))
        array([5.5])
    """
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    # table[j, b]: what it costs to flip in byte j the bits that are set in b. Looked up, a sum
    # takes n_bits / 8 additions, in the same order for every code.
    table = (np.abs(logits.astype(np.float64)).reshape(-1, 1, 8) * bits).sum(axis=2)
    total = np.zeros(len(codes))
    for byte, flips in enumerate((codes ^ code).T):
        total += table[byte, flips]
    return total


def cut_whole_rings(
    found: Found,
    costs: NDArray[np.float64] | None,
    limit: int | None,
    first_by_key: FirstByKey | None,
) -> tuple[Found, NDArray[np.float64] | None]:
    """The first ``limit`` hits by distance, then cost, then row or key, and their costs.

    Args:
        found: whole rings of hits, or all there are.
        costs: of the hits, ``(hits,)``, see :func:`flip_costs`; None if they do not count.
        limit: None for all.
        first_by_key: finds those that come first by key; None orders by row. The hits that are
            chosen by it are in the order of rows all the same, as far as distance and cost go.
    """
    if costs is None and (limit is None or len(found) <= limit):
        return found, None  # they are in this order
    ties = np.zeros(len(found)) if costs is None else costs
    order = np.lexsort((found.rows, ties, found.distances))
    if limit is not None and len(order) > limit:
        if first_by_key is not None:
            last = order[limit - 1]
            tied = (found.distances == found.distances[last]) & (ties == ties[last])
            own = order[tied[order]]
            before = int(np.flatnonzero(tied[order])[0])
            first = first_by_key(found.rows[own], limit - before)
            order = np.concatenate([order[:before], own[first]])
        order = order[:limit]
    return (
        Found(found.rows[order], found.distances[order], found.stats),
        None if costs is None else costs[order],
    )


def beyond(limit: int) -> int:
    """How many hits to search for, so that mostly all of the ring of the last one are among them.

    The nearest 32 more take a third longer, and spare most of the second searches.
    """
    return limit + min(max(limit, 32), 4096)


def search_whole_rings(
    parts: Sequence[CodeIndex],
    codes: Codes,
    radius: int | None,
    limit: int | None,
    allowed: NDArray[np.uint8] | None,
) -> list[Found]:
    """At least ``limit`` hits a query where there are so many, and all at the distance of the last.

    Which hits of the last ring come first is not known before all of them are seen. So where more
    are in it than are looked for at once, a query costs a second search, by radius, and as much
    memory as that ring has hits.
    """
    is_number = isinstance(limit, int | np.integer) and not isinstance(limit, bool)
    if limit is None or not is_number or limit < 1:
        return search_many(
            parts, codes, radius, limit, allowed
        )  # which refuses what makes no sense
    asked = beyond(int(limit))
    found = search_many(parts, codes, radius, asked, allowed)
    again: dict[int, list[int]] = {}
    for q, one in enumerate(found):
        if len(one) <= limit:
            continue
        last = one.distances[limit - 1]
        if len(one) == asked and one.distances[-1] == last:
            again.setdefault(int(last), []).append(q)
        else:
            end = int(one.distances.searchsorted(last, side="right"))
            found[q] = Found(one.rows[:end], one.distances[:end], one.stats)
    for reach, queries in again.items():
        for q, whole in zip(
            queries, search_many(parts, codes[queries], reach, None, allowed), strict=True
        ):
            found[q] = Found(whole.rows, whole.distances, _both(found[q].stats, whole.stats))
    return found


def _both(first: SearchStats, second: SearchStats) -> SearchStats:
    return SearchStats(
        plan=f"{first.plan}; then the last ring whole: {second.plan}",
        probes=first.probes + second.probes,
        candidates=first.candidates + second.candidates,
        seconds=first.seconds + second.seconds,
        estimated_seconds=first.estimated_seconds + second.estimated_seconds,
    )


def vector_distances(
    query: NDArray[np.float32], vectors: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Euclidean distances of a query ``(d,)`` to vectors ``(n, d)``, ``float64``, ``(n,)``."""
    # float64, for the squares of features at the end of float32 as well.
    distances: NDArray[np.float64] = np.linalg.norm(vectors.astype(np.float64) - query, axis=1)
    return distances
