"""What a source yields, and the contract of a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hashret.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to index.

    Attributes:
        key: its name, unique in the source.
        value: a vector or image array (a row of an array file), the bytes of an image file, a PIL
            image, or a text.
        fields: what else is known about it, for instance ``{"label": 3}``; JSON scalars only.
        position: its row in an array file; None elsewhere.
    """

    key: str
    value: Any
    fields: Mapping[str, Any] = field(default_factory=dict)
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """An input that was left out: its name, and why."""

    name: str
    reason: str


class Source(ABC):
    """A stream of items that can be iterated more than once.

    Attributes:
        kind: ``"images"``, ``"text"`` or ``"vectors"``.
        description: one line about what was understood.
        location: the absolute path of the folder or file on disk; None for Python data and for
            several paths (each of ``parts`` has its own).
        length: how many items there are at most; those that turn out unreadable are skipped.
        ignored: how many files beside the items were left alone because they are not images.
    """

    kind: str
    description: str
    location: str | None = None
    length: int = 0
    ignored: int = 0

    def __init__(self) -> None:
        """Start with nothing skipped."""
        self._skipped: list[Skipped] = []

    @property
    def skipped(self) -> list[Skipped]:
        """Inputs left out by the latest iteration, as far as it has come."""
        return self._skipped

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sources this one consists of: itself, or one for each of several paths."""
        return (self,)

    def __iter__(self) -> Iterator[Item]:
        """Start again from the first item, and with nothing skipped."""
        self._skipped = []
        return self._items(range(self.length))

    def holds(self, key: str) -> bool:
        """Whether an item of this key is in the source, readable or not; for sources on disk."""
        return key == self.location

    def sample(self, count: int, random: np.random.Generator) -> Iterator[Item]:
        """Items drawn by chance, in the order of the source; only these are read.

        Args:
            count: how many; all of them where there are fewer. Unreadable ones are passed over.
            random: draws them.
        """
        if count >= self.length:
            return iter(self)
        self._skipped = []
        return self._items(np.sort(random.choice(self.length, count, replace=False)).tolist())

    @abstractmethod
    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        """Yield the items at these ascending positions; note what is left out in ``_skipped``."""


def is_gone(path: str) -> bool:
    """Whether there is certainly nothing at a path; not so where it cannot be looked at."""
    try:
        Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def content_hash(value: Any) -> bytes:
    """Hash a value by what it holds, to tell whether an item has changed.

    Equal values have equal hashes whatever their memory layout: an array is hashed by its dtype,
    shape and elements, not by its strides or byte order; a PIL image by its pixels, not by the
    file it came from.

    Args:
        value: bytes, text, an array or a PIL image.

    Returns:
        16 bytes of BLAKE2b.

    Raises:
        InputError: a value of another type, or a PIL image that cannot be read.

    Example:
        >>> content_hash(b"pixels") == content_hash(bytearray(b"pixels"))
        True
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return _digest("bytes", value)
    if isinstance(value, str):
        return _digest("text", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        native = np.asarray(value, dtype=value.dtype.newbyteorder("="), order="C")
        # A zero-dimensional or empty array has no buffer that casts to bytes.
        content = native.data.cast("B") if native.ndim and native.size else native.tobytes()
        return _digest(f"array {native.dtype.str} {native.shape}", content)
    if is_pil_image(value):
        return _pil_hash(value)
    raise InputError(
        f"Expected bytes, text, a numeric array or a PIL image to hash, got {type(value).__name__}."
    )


def is_pil_image(value: object) -> bool:
    """Whether this is a PIL image."""
    from PIL.Image import Image

    return isinstance(value, Image)


def load_pil_image(image: Image) -> None:
    """Read the pixels of a PIL image, which may still lie in its file.

    Raises:
        InputError: they cannot be read; the message is the reason alone.
    """
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise anything on damaged data.
        raise InputError(f"damaged image: {error}") from error


def _pil_hash(image: Image) -> bytes:
    load_pil_image(image)
    # A palette is part of what a picture shows, and the orientation decides how it is read.
    pixels = image.convert("RGBA") if image.mode in ("P", "PA") else image
    orientation = image.getexif().get(0x0112, 1)
    return _digest(f"image {image.mode} {image.size} {orientation}", pixels.tobytes())


def _digest(tag: str, content: bytes | bytearray | memoryview) -> bytes:
    digest = blake2b(tag.encode() + b"\0", digest_size=HASH_BYTES)
    digest.update(content)
    return digest.digest()
