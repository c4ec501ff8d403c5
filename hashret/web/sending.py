"""Values as a client sends them: text, an image file in base64, or numbers."""

from __future__ import annotations

import base64
from io import BytesIO
from os import PathLike
from typing import Any

import numpy as np

from hashret.errors import InputError, NoEncoderError
from hashret.sources import Item, read_value
from hashret.sources.item import is_pil_image

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


def _png(picture: Any) -> str:
    file = BytesIO()
    (picture if picture.mode in _PNG_MODES else picture.convert("RGB")).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
