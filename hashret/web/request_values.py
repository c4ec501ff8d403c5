"""Values as a request holds them, and as an index takes them."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Protocol

import numpy as np

from hashret.errors import InputError, NoEncoderError, UsageError
from hashret.features import ImageFeatures
from hashret.index.index import Index
from hashret.web.settings import Limits

LIMITS = Limits()


class Pixels:
    """How many pixels the images of one request may still have."""

    def __init__(self) -> None:
        """Nothing is taken yet."""
        self._left = LIMITS.batch_pixels

    def take(self, number: int) -> None:
        """Take those of an image.

        Raises:
            InputError: they are too many together.
        """
        self._left -= number
        if self._left < 0:
            raise InputError(
                f"The images have more than {LIMITS.batch_pixels // 10**6} megapixels together. "
                "Send fewer at a time."
            )


class _Valued(Protocol):
    """Has the forms of a value that is encoded."""

    text: str | None
    image: str | None
    vector: list[float] | None


def value_of(index: Index, query: _Valued, pixels: Pixels | None = None) -> Any:
    """What an index takes as a value: text, the bytes of an image, or an array. Never a path.

    Raises:
        UsageError: the index holds another kind of values.
        InputError: an image that is none, or has too many pixels.
    """
    if index.kind == "codes":
        raise NoEncoderError
    if query.text is not None:
        _check_kind(index, "text", "text")
        return query.text
    if query.image is not None:
        _check_kind(index, "images", "an image")
        return checked_image(_from_base64(query.image), pixels)
    if query.vector is None:
        raise UsageError("Codes are added to an index of codes; this one takes values.")
    numbers = np.asarray(query.vector, dtype=np.float64)
    features = index.encoder.features
    if isinstance(features, ImageFeatures):
        size = (features.height, features.width)
        shape = features.array_shape or (size if features.channels == 1 else (*size, 3))
        if numbers.size != int(np.prod(shape)):
            raise InputError(f"Expected the pixels of {shape}, got {numbers.size} numbers.")
        return numbers.reshape(shape)
    _check_kind(index, "vectors", "a vector")
    if numbers.size != features.n_features:
        raise InputError(f"Expected {features.n_features} numbers, got {numbers.size}.")
    return numbers


def checked_image(content: bytes, pixels: Pixels | None = None) -> bytes:
    """The bytes of an image file that may be decoded.

    Raises:
        InputError: it is no image, or has too many pixels.
    """
    from hashret.features.decoding import open_file

    try:
        image = open_file(content)
    except InputError as error:
        raise InputError(f"The image cannot be used: {error}.") from error
    if image.width * image.height > LIMITS.pixels:
        raise InputError(
            f"The image has {image.width} x {image.height} pixels; at most "
            f"{LIMITS.pixels // 10**6} megapixels are taken."
        )
    if pixels is not None:
        pixels.take(image.width * image.height)
    return content


def _check_kind(index: Index, kind: str, given: str) -> None:
    if index.kind != kind:
        raise UsageError(f"This index holds {index.kind}; {given} cannot be looked for in it.")


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"The image is no base64 ({error}).") from error
