"""What the search page shows: an answer with all that makes it readable."""

from __future__ import annotations

from typing import Any

from hashret.codes import to_hex
from hashret.errors import HashretError
from hashret.features import ImageFeatures
from hashret.index.index import Index
from hashret.index.result import Result
from hashret.web.answers import answer_view
from hashret.web.item_texts import texts_of
from hashret.web.reconstructions import reconstruction
from hashret.web.search_state import SearchState, answer

START_ITEMS = 24
DRAWABLE_SIDE = 64


def search_view(index: Index, name: str, state: SearchState) -> dict[str, Any]:
    """The search page as JSON values: what the index is, the state, and the answer or a start.

    Raises:
        HashretError: as :func:`hashret.web.search_state.answer`.
        Problem: something impossible is asked for.
    """
    asked = state.request()
    about = described(index, name)
    view: dict[str, Any] = {"index": about, "state": state.values()}
    if asked is None:
        where = state.cut.get("where")
        items = index.items(START_ITEMS, where)
        keys = [item.key for item in items]
        start = [
            {"key": item.key, "code": to_hex(item.code), "fields": item.fields} for item in items
        ]
        return {**view, "start": start, "texts": texts_of(index, keys)}
    own, result = answer(index, state, asked)
    shown = answer_view(result, _reconstruction(index, result))
    keys = [hit.key for hit in result]
    query_text = state.query.get("text")
    if "key" in state.query:
        query_text = texts_of(index, [state.query["key"]]).get(state.query["key"])
    return {
        **view,
        "query_text": query_text,
        "query_code": own,
        "flips": state.flips,
        "answer": shown,
        "texts": texts_of(index, keys),
    }


def described(index: Index, name: str) -> dict[str, Any]:
    """What the page must know of an index, as JSON values."""
    features = None if index.kind == "codes" else index.encoder.features
    drawable = None
    if isinstance(features, ImageFeatures):
        small = max(features.height, features.width) <= DRAWABLE_SIDE
        if features.channels == 1 and small:
            drawable = [features.width, features.height]
    return {
        "name": name,
        "kind": index.kind,
        "n_bits": index.n_bits,
        "items": len(index),
        "fields": index.field_names,
        "keeps_vectors": index.keeps_vectors,
        "has_pictures": _has_pictures(index),
        "drawable": drawable,
    }


def _has_pictures(index: Index) -> bool:
    return index.kind == "images" and (index.keeps_vectors or index.knows_sources)


def _reconstruction(index: Index, result: Result) -> dict[str, Any] | None:
    try:
        return reconstruction(index, result)
    except HashretError:
        return None  # an answer is worth showing without it
