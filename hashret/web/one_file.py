"""An answer as one HTML file with its pictures, which needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
from io import BytesIO
from typing import Any

from markupsafe import Markup

from hashret.codes import to_hex
from hashret.errors import HashretError
from hashret.features.decoding import picture_of
from hashret.index.index import Index
from hashret.index.result import Result
from hashret.sources import read_value
from hashret.web.answers import AnswerView, answer_view
from hashret.web.item_texts import texts_of
from hashret.web.problems import Problem
from hashret.web.reconstructions import reconstruction
from hashret.web.search_page import described
from hashret.web.search_values import answer_values
from hashret.web.showing import rendered, shown, static_file
from hashret.web.thumbnails import Thumbnails

_log = logging.getLogger("hashret")

MOST_HITS = 1000
"""More pictures than these would make a page that no browser likes."""

_SIDE = 112


def answer_page(
    index: Index,
    result: Result,
    *,
    value: str | None = None,
    key: str | None = None,
    where: str | None = None,
) -> bytes:
    """A page of an answer: rings of hits with pictures or texts, and their bits.

    Args:
        index: that was asked.
        result: the answer.
        value: that was asked for: words, or the path of a picture.
        key: of the item that was asked for.
        where: the condition.

    Returns:
        HTML of at most 1,000 hits. Nothing in it comes from elsewhere, and nothing runs but the
        script that moves the radius.
    """
    about = described(index, index.path.name)
    answer = _first_hits(answer_view(result, reconstruction(index, result)))
    pictures = _Pictures(index)
    keys = [hit["key"] for ring in answer["rings"] for hit in ring["hits"]]
    text = value if index.kind == "text" else None
    if key is not None:
        text = texts_of(index, [key]).get(key)
    view: dict[str, Any] = {
        "query_text": text,
        "query_code": to_hex(result.code),
        "flips": [],
        "answer": answer,
        "texts": texts_of(index, keys),
    }
    style, script = (static_file(name).decode() for name in ("hashret.css", "hashret.js"))
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    asked = next((one for one in (value, key) if one is not None), f"code {to_hex(result.code)}")
    if key is None and index.kind != "text":
        asked = os.path.basename(asked)  # noqa: PTH119 - a Path would be of no more use
    notes = [f"{about['items']:,} items in {shown(about['name'])}"]
    if where is not None:
        notes.append(f"where {shown(where)}")
    if len(keys) < len(result):
        notes.append(f"the first {len(keys):,} of {len(result):,} hits are shown")
    page = rendered(
        "one_file.html",
        **answer_values(view),
        policy=policy,
        style=Markup(style),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        title=asked,
        about=about,
        state=None,
        asked_key=key,
        asked_picture=pictures.of_query(value, key),
        picture=pictures.of if about["has_pictures"] else _none,
        last=max(answer["rings"][-1]["distance"], 1) if answer["rings"] else 1,
        notes=notes,
    )
    pictures.tell_missing()
    return page


class _Pictures:
    """Pictures as addresses that hold their own data."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._missing: dict[str, str] = {}
        self._thumbnails = Thumbnails(self._missing.__setitem__)

    def of(self, key: str) -> str | None:
        """An item's; None where there is none."""
        try:
            content = self._thumbnails.of(self._index, self._index.path.name, key, _SIDE)
        except (HashretError, Problem):
            return None
        return _data(content)

    def of_query(self, value: str | None, key: str | None) -> str | None:
        """That of an item, or of a file."""
        if self._index.kind != "images":
            return None
        if key is not None:
            return self.of(key)
        if value is None:
            return None
        try:
            picture = picture_of(read_value(value), (_SIDE, _SIDE))
        except HashretError:
            return None
        picture.thumbnail((_SIDE, _SIDE))
        file = BytesIO()
        picture.save(file, "PNG")
        return _data(file.getvalue())

    def tell_missing(self) -> None:
        """Say once how many items have no picture, and why the first has none."""
        if self._missing:
            key, reason = next(iter(self._missing.items()))
            _log.warning(
                "%d of the items have no picture. The first is %r: %s.",
                len(self._missing),
                key,
                reason,
            )


def _first_hits(answer: AnswerView) -> AnswerView:
    for ring in answer["rings"]:
        ring["hits"] = [hit for hit in ring["hits"] if hit["rank"] <= MOST_HITS]
        ring["count"] = len(ring["hits"])
    if answer["count"] > MOST_HITS:
        answer["complete"] = False
        answer["count"] = answer["limit"] = MOST_HITS
    answer["rings"] = [ring for ring in answer["rings"] if ring["hits"]]
    return answer


def _none(_: str) -> None:
    return None


def _data(content: bytes) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
