"""What a client asks for, and values as it sends them: text, an image in base64, numbers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import BytesIO
from os import PathLike
from typing import Any

import numpy as np

from hashret.errors import InputError, KeyNotFoundError, NoEncoderError, UsageError
from hashret.sources import Item, read_value
from hashret.sources.item import is_pil_image

MOST_HITS = 1000
"""Of one query, or of one request for items."""

_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


def sent_value(value: Any, kind: str) -> dict[str, Any]:
    """A value for an index of a kind, by the name that the API gives to its form.

    Raises:
        InputError: it cannot be read, or is of another kind.
    """
    if kind == "codes":
        raise NoEncoderError
    if kind == "text":
        if not isinstance(value, str):
            raise InputError(f"Expected a text, got {type(value).__name__}.")
        return {"text": value}
    if isinstance(value, str | PathLike):
        value = read_value(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"image": base64.b64encode(value).decode()}
    if not isinstance(value, np.ndarray) and is_pil_image(value):
        return {"image": _png(value)}
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise InputError(f"Expected numbers, got an array of {array.dtype}.")
    if kind == "images" and array.dtype == np.uint8:
        from hashret.features.decoding import picture_of

        return {"image": _png(picture_of(array))}
    if not np.isfinite(array).all():
        raise InputError("The vector cannot be used: it holds NaN or infinity.")
    return {"vector": array.reshape(-1).tolist()}


def sent_item(item: Item, kind: str) -> dict[str, Any]:
    """An item that is to be added."""
    return {"key": item.key, **sent_value(item.value, kind), "fields": dict(item.fields)}


def sent_cut(
    radius: int | None, limit: int | None, where: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Which items are an answer, as the API names it.

    Raises:
        UsageError: an option that no query takes, or no bound at all.
    """
    unknown = set(options) - {"order", "rerank", "shortlist"}
    if unknown:
        raise UsageError(f"A query takes no {', '.join(sorted(unknown))}.")
    if limit is None and radius is None:
        raise UsageError("Give a radius or a limit.")
    return {"radius": radius, "limit": sent_limit(limit), "where": where, **options}


def sent_limit(limit: int | None) -> int:
    """How many hits are asked for.

    Raises:
        UsageError: an impossible number.
    """
    if limit is None:
        return MOST_HITS
    if not isinstance(limit, int) or limit < 1:
        raise UsageError(f"limit must be a number of at least 1 or None, not {limit!r}.")
    return limit


def sent_key(key: object) -> str:
    """A key that JSON and addresses can hold.

    Raises:
        UsageError: it is no text.
        KeyNotFoundError: it is none that an item could have.
    """
    if not isinstance(key, str):
        raise UsageError(f"A key is text, got {key!r} of type {type(key).__name__}.")
    if not key.isascii() and any("\ud800" <= character <= "\udfff" for character in key):
        raise KeyNotFoundError(f"No item has the key {key!r}, which is no Unicode text.")
    return key


def _png(picture: Any) -> str:
    file = BytesIO()
    (picture if picture.mode in _PNG_MODES else picture.convert("RGB")).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
