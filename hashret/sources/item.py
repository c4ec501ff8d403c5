"""What a source yields, and the contract of a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.sources.inside import split_inside
from hashret.sources.locations import split_location
from hashret.sources.remote import is_url
from hashret.sources.skipped import SkippedInputs

if TYPE_CHECKING:
    from PIL.Image import Image

HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to index.

    Attributes:
        key: its name, unique in the source.
        value: a text, a vector or image array (a row of an array file), the bytes of an image
            file, or a PIL image.
        fields: what else is known about it, for instance ``{"label": 3}``; JSON scalars only.
        position: its row in an array file, its record in a table; None elsewhere.
        place: where it stands in its file, as people count, for messages; empty where its key or
            position says enough.
    """

    key: str
    value: Any
    fields: Mapping[str, Any] = field(default_factory=dict)
    position: int | None = None
    place: str = field(default="", compare=False)


class Source(ABC):
    """A stream of items that can be iterated more than once.

    Attributes:
        kind: ``"images"``, ``"text"`` or ``"vectors"``.
        description: one line about what was understood.
        location: the absolute path of the folder or file on disk, with how it was read where that
            is not the usual way; None for Python data and for several paths (each of ``parts`` has
            its own).
        root: that path alone.
        length: how many items there are at most; those that turn out unreadable are skipped.
        empty: how many of these hold nothing, as empty lines of a file do, and are no items.
        ignored: how many files beside the items were left alone because they are of another kind.
        has_rows: whether its items lie in one file, each at a position.
        row_prefix: what the keys begin with where they are row numbers; None where they are names.
        columns_taken: which columns of tables are the values and the keys, by where they lie.
        declared_fields: names of all fields that its items can have, where it knows them before.
        width: how many values each of its vectors has; None for other kinds.
        passes: whether what it holds is gone when it is read, so that its row numbers, if those are
            its keys, mean other items the next time.
        divisible: whether some of its items are read at no more cost than their own.
    """

    kind: str
    description: str
    location: str | None = None
    root: str | None = None
    length: int = 0
    empty: int = 0
    ignored: int = 0
    has_rows: bool = False
    row_prefix: str | None = None
    columns_taken: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    declared_fields: frozenset[str] | None = None
    width: int | None = None
    passes: bool = False
    divisible: bool = False

    def __init__(self) -> None:
        """Start with nothing skipped."""
        self._skipped = SkippedInputs()

    @property
    def skipped(self) -> SkippedInputs:
        """Inputs left out by the latest iteration, as far as it has come."""
        return self._skipped

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sources this one consists of: itself, or one for each of several paths."""
        return (self,)

    def __iter__(self) -> Iterator[Item]:
        """Start again from the first item, and with nothing skipped."""
        self._skipped = SkippedInputs()
        return self._items(range(self.length))

    def named_keys(self) -> Iterable[str]:
        """The keys of a source on disk where they are names; none where they are row numbers."""
        return [] if self.root is None else [self.root]

    def holds(self, key: str) -> bool:
        """Whether an item of this key is in the source, readable or not; for sources on disk."""
        return self.root is not None and key == self.root

    def place_of(self, item: Item) -> str | None:
        """Where the value of one of its items can be read again; None where it cannot."""
        if self.location is None:
            return None
        if item.position is not None:
            return f"{self.location}#{item.position}"
        return item.key + self.location.removeprefix(self.root or self.location)

    def sample(self, count: int, random: np.random.Generator) -> Iterator[Item]:
        """Items drawn at random, in the order of the source; only these are read.

        Args:
            count: how many; all of them where there are fewer. Unreadable ones are passed over.
            random: draws them.
        """
        if count >= self.length:
            return iter(self)
        self._skipped = SkippedInputs()
        return self._items(np.sort(random.choice(self.length, count, replace=False)).tolist())

    def between(self, first: int, end: int) -> Iterator[Item]:
        """The items from position ``first`` up to ``end``, which is not included."""
        self._skipped = SkippedInputs()
        return self._items(range(max(first, 0), min(end, self.length)))

    @abstractmethod
    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        """Yield the items at these ascending positions; note what is left out in ``_skipped``."""


def counted(count: int, kind: str) -> str:
    """So many items of a kind.

    Example:
        >>> counted(1, "images"), counted(2000, "text")
        ('1 image', '2,000 texts')
    """
    return f"{count:,} {kind.removesuffix('s')}{'s' * (count != 1)}"


def is_gone(path: str) -> bool:
    """Whether there is certainly nothing at a location; not so where it cannot be looked at.

    What lies in a file, such as an archive, is there as long as that file is; and nothing is
    certain of a URL.
    """
    if is_url(path):
        return False
    try:
        Path(path).lstat()
    except FileNotFoundError:
        file, options = split_location(path)
        return not options or is_gone(file)
    except NotADirectoryError:
        return split_inside(path) is None
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
        return _digest(_tag(native), content)
    if is_pil_image(value):
        return _pil_hash(value)
    raise InputError(
        f"Expected bytes, text, a numeric array or a PIL image to hash, got {type(value).__name__}."
    )


def content_hashes(values: Sequence[Any]) -> list[bytes]:
    """Hash many values, each as :func:`content_hash` does, those of one array in less time."""
    first = values[0] if values else None
    if (
        not isinstance(first, np.ndarray)
        or first.dtype.kind not in "biuf"
        or not first.dtype.isnative
        or not first.size
        or not first.ndim
    ):
        return [content_hash(value) for value in values]
    dtype, shape = first.dtype, first.shape
    begun = blake2b(_tag(first), digest_size=HASH_BYTES)
    hashes = []
    for value in values:
        if (
            type(value) is np.ndarray
            and value.dtype is dtype
            and value.shape == shape
            and value.flags.c_contiguous
        ):
            digest = begun.copy()
            digest.update(value.data)
            hashes.append(digest.digest())
        else:
            hashes.append(content_hash(value))
    return hashes


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


def _tag(array: NDArray[Any]) -> bytes:
    return f"array {array.dtype.str} {array.shape}\0".encode()


def _digest(tag: str | bytes, content: bytes | bytearray | memoryview) -> bytes:
    begin = tag if isinstance(tag, bytes) else tag.encode() + b"\0"
    digest = blake2b(begin, digest_size=HASH_BYTES)
    digest.update(content)
    return digest.digest()
