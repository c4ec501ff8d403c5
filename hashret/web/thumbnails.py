"""Small pictures of items, found by key through the index, never by a path."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from hashret.errors import InputError
from hashret.index.index import Index
from hashret.index.item_features import ItemFeatures
from hashret.web.problems import Problem
from hashret.web.request_values import checked_image

if TYPE_CHECKING:
    from PIL.Image import Image

_log = logging.getLogger("hashret.web")

MOST_SIDE = 512
_REMEMBERED_BYTES = 32 << 20
_PNG_PIXELS = 1 << 14
"""Pictures of no more pixels are sent without loss."""


class Thumbnails:
    """Makes small pictures, and remembers the latest."""

    def __init__(self, on_missing: Callable[[str, str], None] | None = None) -> None:
        """Remember nothing.

        Args:
            on_missing: told the key of an item that has no picture, and why, which may say where
                on this machine its file lies; None logs it.
        """
        self._on_missing = on_missing or _log_missing
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str, int], bytes] = OrderedDict()
        self._bytes = 0

    def of(self, index: Index, name: str, key: str, side: int) -> bytes:
        """An item's picture as a PNG or JPEG file of at most ``side`` x ``side`` pixels.

        Raises:
            KeyNotFoundError: there is no such item.
            Problem: it has no picture, or its file is gone or changed (404).
        """
        ((index, _),) = index.shards_with([key])
        with index.reader.state():
            item = index.reader.item(key)
            # Another state of the index may hold another picture under the key.
            place = (name, index.reader.store.commit, item.key, side)
            with self._lock:
                known = self._known.get(place)
                if known is not None:
                    self._known.move_to_end(place)
                    return known
            picture = self._picture(index, item.key, item.row, side)
        content = _file_of(picture, side)
        with self._lock:
            if place not in self._known:
                self._known[place] = content
                self._bytes += len(content)
            while self._bytes > _REMEMBERED_BYTES:
                self._bytes -= len(self._known.popitem(last=False)[1])
        return content

    def _picture(self, index: Index, key: str, row: int, side: int) -> Image:
        if index.kind != "images":
            raise _none(f"An index of {index.kind} has no pictures.")
        store = index.reader.store
        if store.vector_length is not None and not store.sources():
            return index.encoder.picture(index.reader.vectors([row])[0])
        from hashret.features.decoding import picture_of

        items = ItemFeatures(store, index.encoder.features)
        value = next((item.value for item in items.values([key])), None)
        if value is None:
            if store.vector_length is not None:
                return index.encoder.picture(index.reader.vectors([row])[0])
            if store.items_of([row])[row].location is None:
                raise _none("it came without a file, and its pixels are not kept.")
            self._on_missing(key, items.unread[0].reason if items.unread else "?")
            raise _none("its file is gone, or has changed since it was indexed.")
        try:
            return picture_of(
                checked_image(value) if isinstance(value, bytes) else value, (side, side)
            )
        except InputError as error:
            self._on_missing(key, str(error))
            raise _none("its file cannot be shown as one.") from error


def _log_missing(key: str, reason: str) -> None:
    _log.warning("%r has no picture: %s", key, reason)


def _file_of(picture: Image, side: int) -> bytes:
    from PIL.Image import Resampling

    if max(picture.size) > side:
        picture = picture.copy()
        picture.thumbnail((side, side), Resampling.LANCZOS)
    file = BytesIO()
    if picture.width * picture.height <= _PNG_PIXELS:
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def _none(reason: str) -> Problem:
    return Problem(
        404,
        f"There is no picture: {reason}",
        "Show the key instead.",
        kind="NoPictureError",
    )
