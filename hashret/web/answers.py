"""Results as plain JSON values: one view for the API, the pages and the page in one file."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from hashret.codes import to_hex
from hashret.index.result import Hit, Result
from hashret.store import StoredItem


class HitView(TypedDict):
    """A hit; ``vector_distance`` only where the answer was re-ranked."""

    rank: int
    key: str
    distance: int
    vector_distance: NotRequired[float]
    similarity: float
    code: str
    flipped: list[int]
    fields: dict[str, Any]


class RingView(TypedDict):
    """The hits at one distance."""

    distance: int
    count: int
    hits: list[HitView]


class StatsView(TypedDict):
    """How an answer was found."""

    plan: str
    probes: int
    candidates: int
    seconds: float
    estimated_seconds: float


class AnswerView(TypedDict):
    """The answer to one query.

    ``complete`` says that no further item lies within the radius; ``code`` is that of the query.
    """

    n_bits: int
    code: str
    radius: int | None
    limit: int | None
    count: int
    complete: bool
    reranked: bool
    rings: list[RingView]
    stats: StatsView
    reconstruction: dict[str, Any] | None


def answer_view(result: Result, reconstruction: dict[str, Any] | None = None) -> AnswerView:
    """A result as JSON values.

    Example:
        >>> answer_view(index.query_key("7"))["rings"][0]["distance"]  # doctest: +SKIP
        0
    """
    stats = result.stats
    rings: list[RingView] = [
        {
            "distance": distance,
            "count": len(hits),
            "hits": [hit_view(hit, result) for hit in hits],
        }
        for distance, hits in result.rings.items()
    ]
    return {
        "n_bits": result.n_bits,
        "code": to_hex(result.code),
        "radius": result.radius,
        "limit": result.limit,
        "count": len(result),
        "complete": result.radius is not None
        and (result.limit is None or len(result) < result.limit),
        "reranked": result.reranked,
        "rings": rings,
        "stats": {
            "plan": stats.plan,
            "probes": stats.probes,
            "candidates": stats.candidates,
            "seconds": round(stats.seconds, 9),
            "estimated_seconds": round(stats.estimated_seconds, 9),
        },
        "reconstruction": reconstruction,
    }


def hit_view(hit: Hit, result: Result) -> HitView:
    """A hit as JSON values; where its value lies on the server is not told."""
    view: HitView = {
        "rank": hit.rank,
        "key": hit.key,
        "distance": hit.distance,
        "similarity": hit.similarity,
        "code": to_hex(hit.code),
        "flipped": result.explain(hit) if hit.distance else [],
        "fields": hit.fields,
    }
    if hit.vector_distance is not None:
        view["vector_distance"] = hit.vector_distance
    return view


class ItemView(TypedDict):
    """An item of an index; rows are in the order of being added."""

    row: int
    key: str
    code: str
    fields: dict[str, Any]


def item_view(item: StoredItem) -> ItemView:
    """An item as JSON values."""
    return {"row": item.row, "key": item.key, "code": to_hex(item.code), "fields": item.fields}
