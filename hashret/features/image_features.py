"""Images as features: pixels from 0 to 1, all of one size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError, InputError
from hashret.features.contract import FORMAT, Failure
from hashret.features.pixels import check_array, check_range, in_range, scaled

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_SIDE = 32
"""Width and height in pixels where the images differ in size or are large."""

MAX_FEATURES = 4096
"""Images of one size keep it up to this many pixels times channels."""

MAX_THREADS = 4
"""Each decodes one image at a time, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Pixels in the order of rows, columns and channels, from 0 (black) to 1.

    An image of another size is scaled to fit, keeping its aspect, and centred on black.

    Attributes:
        height: in pixels.
        width: in pixels.
        channels: 1 for grey, 3 for RGB.
        array_shape: the shape that every image array must have, where the features were learned
            from arrays of one shape; otherwise None, and arrays are scaled like files.
    """

    height: int
    width: int
    channels: int
    array_shape: tuple[int, ...] | None = None
    kind: ClassVar[str] = "images"

    @property
    def n_features(self) -> int:
        """Height times width times channels."""
        return self.height * self.width * self.channels

    @classmethod
    def learn(cls, values: Iterable[Any]) -> Self:
        """Decide size and channels from a sample of images.

        Images that all have one size keep it if that gives at most ``MAX_FEATURES`` features;
        otherwise 32 x 32. One channel where every image is grey, three otherwise. If all are
        arrays, they must go on having the shape that they have.

        Raises:
            InputError: none of them can be read.
        """
        from hashret.features.decoding import look_at

        sizes: set[tuple[int, int]] = set()
        array_shapes: set[tuple[int, ...] | None] = set()
        colour = False
        reason = ""
        for value in values:
            shape = check_array(value).shape if isinstance(value, np.ndarray) else None
            try:
                if shape is None:
                    size, coloured = look_at(value, want_colour=not colour)
                else:
                    check_range(value)
                    size, coloured = (shape[1], shape[0]), len(shape) == 3
            except InputError as error:
                reason = reason or str(error)
                continue
            array_shapes.add(shape)
            sizes.add(size)
            colour = colour or coloured
        if not sizes:
            raise InputError(f"None of the images to learn from can be read: {reason or 'none'}.")
        channels = 3 if colour else 1
        width, height = next(iter(sizes))
        if len(sizes) > 1 or width * height * channels > MAX_FEATURES:
            width = height = DEFAULT_SIDE
        fixed = next(iter(array_shapes)) if len(array_shapes) == 1 else None
        return cls(height, width, channels, fixed)

    def matrix(self, values: Sequence[Any]) -> tuple[NDArray[np.float32], list[Failure]]:
        """Decode and scale images; those that cannot be decoded are failures.

        So are arrays of floats that do not all lie from 0 to 1.

        Args:
            values: bytes of image files, PIL images or image arrays (``uint8``, or floats from 0
                to 1).

        Raises:
            InputError: an array has another type, or another shape than those the features were
                learned from.
        """
        if self._are_exact(values):
            rows = np.stack(values).reshape(len(values), -1)
            good = in_range(rows)
            if good.all():
                return scaled(rows), []
            bad = np.flatnonzero(~good).tolist()
            return scaled(rows[good]), [Failure(p, _reason(rows[p])) for p in bad]
        from concurrent.futures import ThreadPoolExecutor

        # Threads help because Pillow decodes and scales without holding the interpreter.
        with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
            results = list(pool.map(self._row, values))
        matrix = np.empty(
            (sum(not isinstance(result, str) for result in results), self.n_features), np.float32
        )
        failures = []
        n_rows = 0
        for position, result in enumerate(results):
            if isinstance(result, str):
                failures.append(Failure(position, result))
            else:
                matrix[n_rows] = result
                n_rows += 1
        return matrix, failures

    def vector(self, value: Any) -> NDArray[np.float32]:
        """One image as ``float32`` of shape ``(n_features,)``.

        Raises:
            InputError: it cannot be read, is no image, or is an array of another shape.
        """
        if isinstance(value, str):
            raise InputError("Expected an image, got text.")
        row = self._row(value)
        if isinstance(row, str):
            raise InputError(f"The image cannot be used: {row}.")
        return row

    def picture(self, row: NDArray[np.float32]) -> Image:
        """Turn a row of features back into an image of mode L or RGB.

        Args:
            row: ``(n_features,)``; what lies outside 0 to 1 is clipped.

        Raises:
            InputError: the row has another length.
        """
        from PIL import Image

        row = np.asarray(row)
        if row.shape != (self.n_features,):
            raise InputError(f"Expected a row of shape ({self.n_features},), got {row.shape}.")
        shape = (self.height, self.width) if self.channels == 1 else (self.height, self.width, 3)
        levels = np.rint(np.clip(np.nan_to_num(row), 0, 1) * 255).astype(np.uint8)
        return Image.fromarray(levels.reshape(shape))

    def to_json(self) -> dict[str, Any]:
        """Size, channels and the shape of arrays, as JSON."""
        return {
            "kind": self.kind,
            "format": FORMAT,
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "array_shape": None if self.array_shape is None else list(self.array_shape),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """None: all is in the JSON."""
        return {}

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedIndexError: a size is no positive whole number, or channels neither 1 nor 3.
        """
        height, width = settings.get("height"), settings.get("width")
        channels = settings.get("channels")
        shape = settings.get("array_shape")
        if (
            not _is_size(height)
            or not _is_size(width)
            or not (_is_size(channels) and channels in (1, 3))
            or not (shape is None or _is_shape(shape))
        ):
            raise DamagedIndexError(f"features.json is damaged: no sizes of images in {settings}.")
        return cls(height, width, channels, None if shape is None else tuple(shape))

    def describe(self) -> str:
        """``"28 x 28 grey pixels"``: width, then height."""
        return f"{self.width} x {self.height} {'grey' if self.channels == 1 else 'RGB'} pixels"

    @property
    def _size(self) -> tuple[int, int]:
        return (self.width, self.height)

    @property
    def _exact_shape(self) -> tuple[int, ...]:
        size = (self.height, self.width)
        return size if self.channels == 1 else (*size, 3)

    def _are_exact(self, values: Sequence[Any]) -> bool:
        """Whether these are arrays of one type that need no scaling: they are stacked at once."""
        if not values or not isinstance(values[0], np.ndarray):
            return False
        dtype, shape, exact = values[0].dtype, values[0].shape, self._exact_shape
        return (
            (dtype == np.uint8 or dtype.kind in "bf")
            and (shape == exact or (self.channels == 1 and shape == (*exact, 1)))
            and all(
                isinstance(value, np.ndarray) and value.dtype == dtype and value.shape == shape
                for value in values
            )
        )

    def _row(self, value: Any) -> NDArray[np.float32] | str:
        """A row, or the reason why there is none.

        Raises:
            InputError: an array that does not belong to these features.
        """
        if isinstance(value, np.ndarray):
            value = check_array(value)
            if self.array_shape is not None and value.shape != self.array_shape:
                raise InputError(
                    f"Expected an image array of shape {self.array_shape}, got {value.shape}."
                )
            if value.shape == self._exact_shape:
                return _reason(value) or scaled(value.reshape(-1))
        # Imported here, because Pillow is no part of a query by vector, array or key.
        from hashret.features.decoding import letterboxed, picture_of

        try:
            picture = picture_of(value, self._size)
            picture = picture.convert("L" if self.channels == 1 else "RGB")
            return scaled(np.asarray(letterboxed(picture, self._size)).reshape(-1))
        except InputError as error:
            return str(error)


def _reason(array: NDArray[Any]) -> str:
    """Why the pixels of an array cannot be used; empty where they can."""
    try:
        check_range(array)
    except InputError as error:
        return str(error)
    return ""


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(map(_is_size, value))
        and (len(value) == 2 or (len(value) == 3 and value[2] == 3))
    )


def _is_size(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 < value < 1 << 16
