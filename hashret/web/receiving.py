"""What a server answers, as an index would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hashret.codes import from_hex
from hashret.errors import HashretError
from hashret.index.result import Hit, Result
from hashret.search import SearchStats
from hashret.store import StoredItem
from hashret.web.sending import MOST_HITS


def received_result(answer: Mapping[str, Any], limit: int | None) -> Result:
    """The answer to one query.

    Raises:
        HashretError: all hits were asked for, and are more than a server sends.
    """
    if limit is None and not answer["complete"]:
        raise HashretError(
            f"More than {MOST_HITS} items lie within the radius, which is more than a server sends "
            "at once; ask for fewer bits, or with a limit."
        )
    hits = [
        Hit(
            hit["rank"],
            hit["key"],
            hit["distance"],
            hit["similarity"],
            from_hex(hit["code"]),
            hit["fields"],
            None,
            hit.get("vector_distance"),
        )
        for ring in answer["rings"]
        for hit in ring["hits"]
    ]
    hits.sort(key=lambda hit: hit.rank)
    return Result(
        from_hex(answer["code"]),
        hits,
        SearchStats(**answer["stats"]),
        radius=answer["radius"],
        limit=None if limit is None else answer["limit"],
        reranked=answer["reranked"],
    )


def received_item(item: Mapping[str, Any]) -> StoredItem:
    """An item."""
    return StoredItem(item["row"], item["key"], from_hex(item["code"]), item["fields"])
