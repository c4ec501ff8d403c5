"""Image files, PIL images and arrays as 8-bit grey or RGB pictures."""

from __future__ import annotations

import threading
import warnings
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hashret.errors import InputError
from hashret.features.pixels import check_array, check_range

# WEBP and TIFF come last: Pillow loads those plugins, and all its others, when it gets there.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TIFF")
"""What is decoded; Pillow knows many more formats, some of which start other programs."""

MAX_PIXELS = 100_000_000
"""Images of more pixels than this are refused before they are decoded."""

DRAFT_FACTOR = 4
"""A JPEG file is decoded at the smallest scale that is this many times the wanted size."""

STRIP_PIXELS = 1 << 20
"""So many pixels of more than 8 bits are scaled at a time."""

_TOO_LARGE = (
    f"larger than {MAX_PIXELS // 10**6} megapixels, which may be a trap that fills the memory; "
    "scale it down first"
)
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})

# warnings.catch_warnings changes the process; one thread at a time must put it back.
_opening = threading.Lock()


def open_file(content: bytes) -> Image.Image:
    """Open an image file from its bytes, without decoding it yet.

    Raises:
        InputError: it is no image of a known format, or too large; the message is the reason.
    """
    if not content:
        raise InputError("the file is empty")
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise InputError(f"not an image ({', '.join(FORMATS)}), or its start is damaged") from error
    except Image.DecompressionBombError as error:
        raise InputError(_TOO_LARGE) from error
    except Exception as error:  # Pillow's decoders raise anything on damaged data.
        raise InputError(f"damaged image: {error}") from error
    check_size(image)
    return image


def check_size(image: Image.Image) -> None:
    """Refuse what would not fit the memory.

    Raises:
        InputError: the image has more than ``MAX_PIXELS``; the message is the reason.
    """
    if image.width * image.height > MAX_PIXELS:
        raise InputError(_TOO_LARGE)


def picture_of(value: Any, size: tuple[int, int] | None = None) -> Image.Image:
    """Turn a value into an upright picture of mode L (grey) or RGB.

    The first frame counts. The EXIF orientation is applied. What is transparent shows white
    behind it. 16-bit grey keeps its whole range.

    Args:
        value: the bytes of an image file, a PIL image, or an array as :func:`check_array` takes.
        size: width and height that are wanted in the end: a JPEG file of many times that size is
            decoded at a fraction of its own.

    Raises:
        InputError: the value cannot be read; the message is the reason alone.
    """
    if isinstance(value, np.ndarray):
        return _picture_of_array(value)
    if isinstance(value, bytes):
        image = open_file(value)
    elif isinstance(value, Image.Image):
        image = value
        check_size(image)
    else:
        raise InputError(
            f"expected the bytes of an image file, a PIL image or an array, got "
            f"{type(value).__name__}"
        )
    try:
        if isinstance(value, Image.Image):
            return _eight_bit(ImageOps.exif_transpose(image))
        if size is not None:
            image.draft(None, (size[0] * DRAFT_FACTOR, size[1] * DRAFT_FACTOR))
        ImageOps.exif_transpose(image, in_place=True)  # which spares a copy
        return _eight_bit(image)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError("too large for the memory") from error
    except Exception as error:  # Pillow's decoders raise anything on damaged data.
        raise InputError(f"damaged image: {error}") from error


def look_at(value: Any, want_colour: bool) -> tuple[tuple[int, int], bool]:
    """Find the upright size of an image and whether it has colours, decoding only if it must.

    Args:
        value: as for :func:`picture_of`.
        want_colour: False where the colours no longer matter; the answer may then be False.

    Returns:
        Width and height, and whether any pixel is not grey.

    Raises:
        InputError: the value cannot be read; the message is the reason alone.
    """
    if isinstance(value, bytes):
        image = open_file(value)
        if not want_colour or image.mode in _GREY_MODES:
            try:
                # Pillow reads a whole PNG for this, and raises anything on a damaged one.
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            except Exception as error:
                raise InputError(f"damaged image: {error}") from error
            return (image.size[::-1] if turned else image.size), False
    picture = picture_of(value)
    return picture.size, picture.mode == "RGB" and _has_colour(picture)


def letterboxed(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale to fit into ``size``, keeping the aspect, and centre on black."""
    if picture.size == size:
        return picture
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    scaled = picture.resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if inner == size:
        return scaled
    canvas = Image.new(picture.mode, size)
    canvas.paste(scaled, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return canvas


def _picture_of_array(array: NDArray[Any]) -> Image.Image:
    array = check_array(array)
    check_range(array)
    if array.dtype != np.uint8:
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring a decoded image of any mode into L or RGB."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return _from_levels(image, 65535)
    if image.mode == "F":
        return _from_levels(image, 1)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _from_levels(image: Image.Image, white: int) -> Image.Image:
    """A grey picture of pixels from 0 (black) to ``white``, scaled some rows at a time."""
    levels = np.empty((image.height, image.width), dtype=np.uint8)
    size = max(1, STRIP_PIXELS // image.width)
    lows, highs = [], []
    for top in range(0, image.height, size):
        strip = np.asarray(image.crop((0, top, image.width, min(top + size, image.height))))
        lows.append(strip.min())
        highs.append(strip.max())
        if lows[-1] >= 0 and highs[-1] <= white:
            levels[top : top + size] = np.rint(strip.astype(np.float64) * (255 / white))
    low, high = np.min(lows), np.max(highs)
    if not (low >= 0 and high <= white):
        raise InputError(
            f"its pixels go from {low:g} to {high:g}, where 0 to {white} was expected; convert it "
            "to 8 bits"
        )
    return Image.fromarray(levels)


def _has_colour(picture: Image.Image) -> bool:
    red, green, blue = (np.asarray(band) for band in picture.split())
    return not (np.array_equal(red, green) and np.array_equal(green, blue))
