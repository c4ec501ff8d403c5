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
            ``uint8``, booleans, or floats, which :func:`check_range` looks at.

    Raises:
        InputError: another shape or type.
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
    return array


def check_range(array: NDArray[Any]) -> None:
    """Check that the pixels of one image lie from 0 to 1, where they are floats.

    Raises:
        InputError: they do not, or there is a NaN; the message is the reason alone.
    """
    if array.dtype.kind != "f" or in_range(array.reshape(1, -1))[0]:
        return
    low, high = array.min(), array.max()
    if np.isnan(low):
        raise InputError("its pixels hold NaN")
    raise InputError(
        f"its pixels, {array.dtype}, go from {low:g} to {high:g}, where 0 to 1 was expected; "
        "divide by the largest possible value, or pass uint8"
    )


def in_range(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows ``(n, d)`` of pixels lie from 0 to 1, where they are floats; all of any others."""
    if rows.dtype.kind != "f":
        return np.ones(len(rows), dtype=bool)
    # So put, NaN is refused as well.
    return np.asarray((rows.min(axis=1) >= 0) & (rows.max(axis=1) <= 1))


def scaled(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Pixels of any accepted type as ``float32`` from 0 (black) to 1, in the same shape."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255)
    return np.asarray(pixels, dtype=np.float32)
