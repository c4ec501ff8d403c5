"""Image arrays: what is accepted as pixels, and pixels as features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError


def check_array(array: NDArray[Any]) -> NDArray[Any]:
    """Validate an image array and drop a last axis of one channel.

    Args:
        array: shape ``(height, width)``, ``(height, width, 1)`` or ``(height, width, 3)``;
            ``uint8``, booleans, or floats from 0 to 1.

    Raises:
        InputError: another shape or type, or values out of range.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or not array.size or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(
            f"Expected an image array of shape (height, width), (height, width, 1) or (height, "
            f"width, 3), got shape {array.shape}."
        )
    if array.dtype != np.uint8 and array.dtype.kind not in "bf":
        raise InputError(
            f"Expected an image array of dtype uint8, or of floats from 0 to 1, got {array.dtype}; "
            "convert it with .astype('uint8') if its values are 0 to 255."
        )
    if array.dtype.kind == "f":
        check_range(array)
    return array


def check_range(array: NDArray[Any]) -> None:
    """Check that the floats of an image array lie from 0 to 1.

    Raises:
        InputError: they do not, or there is a NaN.
    """
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # So put, NaN is refused as well.
        raise InputError(
            f"Expected pixels from 0 to 1 in an image array of {array.dtype}, got {low:g} to "
            f"{high:g}; divide by the largest possible value, or pass uint8."
        )


def scaled(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels of any accepted type as ``float32`` from 0 (black) to 1, in the same shape.

    Raises:
        InputError: floats that do not lie from 0 to 1.
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255)
    if pixels.dtype.kind == "f":
        check_range(pixels)
    return np.asarray(pixels, dtype=np.float32)
