"""Python pairs as a source: (key, value) or (key, value, fields)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np

from hashret.errors import InputError
from hashret.sources.arrays import row_kind
from hashret.sources.columns import is_picture
from hashret.sources.images import SUFFIXES, is_image_name, read_image_bytes
from hashret.sources.item import Item, Source, counted, is_pil_image, load_pil_image
from hashret.sources.metadata import check_fields, check_key
from hashret.sources.skipped import Skipped


class PairSource(Source):
    """Items that Python code gives one by one.

    Args:
        entries: tuples ``(key, value)`` or ``(key, value, fields)``. A value is a vector (shape
            ``(d,)``), an image array, a PIL image, the bytes of an image file, or its path, which
            is read when the item's turn comes; or a text, which every string is that is no path of
            an image, and with ``kind="text"`` every string.
        kind: ``"auto"``, ``"images"``, ``"text"`` or ``"vectors"``.

    Raises:
        InputError: an entry is of another form, or a key comes twice; the message names the key.
    """

    def __init__(self, entries: Sequence[Any], kind: str = "auto") -> None:
        """Check every entry; images are read later."""
        super().__init__()
        self._entries: list[Item] = []
        kinds: dict[str, str] = {}
        seen: set[str] = set()
        for number, entry in enumerate(entries):
            item, item_kind = _read_entry(entry, number, kind)
            if item.key in seen:
                raise InputError(f"The key {item.key!r} comes twice; keys must be unique.")
            seen.add(item.key)
            self._entries.append(item)
            kinds.setdefault(item_kind, item.key)
            if len(kinds) > 1:
                (first, first_key), (second, second_key) = kinds.items()
                raise InputError(
                    f"Expected values of one kind, got {first} ({first_key!r}) and {second} "
                    f"({second_key!r})." + " Pass kind='text' if all are texts." * ("text" in kinds)
                )
        self.kind = next(iter(kinds))
        self.length = len(self._entries)
        self.description = f"{counted(self.length, self.kind)} given"
        if self.kind == "vectors":
            self._check_lengths()

    def _check_lengths(self) -> None:
        first = self._entries[0]
        self.width = int(first.value.size)
        for item in self._entries:
            if item.value.shape != first.value.shape:
                raise InputError(
                    f"Expected vectors of one length, got {first.value.size} values in "
                    f"{first.key!r} and {item.value.size} in {item.key!r}."
                )

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        for position in positions:
            item = self._entries[position]
            if self.kind == "text":
                yield item
                continue
            try:
                if isinstance(item.value, str):
                    yield Item(item.key, read_image_bytes(item.value), item.fields)
                    continue
                if not isinstance(item.value, np.ndarray | bytes):
                    load_pil_image(item.value)
            except InputError as error:
                self._skipped.append(Skipped(item.key, str(error)))
                continue
            yield item


def is_pair(entry: object) -> bool:
    """Whether an entry of an iterable is meant as (key, value[, fields]), not as a row of numbers.

    A key that is no text counts as well, so that it is refused by name rather than misread.
    """
    if not isinstance(entry, tuple | list) or not 2 <= len(entry) <= 3:
        return False
    if isinstance(entry[0], tuple | list | np.ndarray):
        return False
    return isinstance(entry[0], str) or not np.isscalar(entry[1]) or isinstance(entry[1], str)


def differ_in_size(entries: Sequence[Any]) -> bool:
    """Whether these are images, as arrays or of PIL, of which no array can be made."""
    shapes = set()
    for entry in entries:
        if isinstance(entry, np.ndarray) and entry.ndim in (2, 3):
            shapes.add(entry.shape)
        elif is_picture(entry):
            shapes.add((entry.height, entry.width, entry.mode))
        else:
            return False
    return len(shapes) > 1


def _read_entry(entry: object, number: int, kind: str) -> tuple[Item, str]:
    if not isinstance(entry, tuple | list) or not 2 <= len(entry) <= 3:
        raise InputError(
            f"Expected (key, value) or (key, value, fields), got {type(entry).__name__} as entry "
            f"{number}."
        )
    key = check_key(entry[0])
    fields = check_fields(key, entry[2]) if len(entry) == 3 else {}
    value, value_kind = _read_given(key, entry[1], kind)
    return Item(key, value, fields), value_kind


def _read_given(key: str, value: Any, kind: str) -> tuple[Any, str]:
    """Bring a value into one of five forms: text, path as str, bytes, array, PIL image."""
    if kind == "text":
        if not isinstance(value, str):
            raise InputError(f"Expected a text for {key!r}, got {type(value).__name__}.")
        return str(value), "text"
    if isinstance(value, str | PathLike):
        path = fspath(value)
        if not isinstance(path, str) or not is_image_name(path):
            if isinstance(value, str) and kind == "auto":
                return str(value), "text"
            raise InputError(
                f"What is given for {key!r} must be the path of an image "
                f"({', '.join(sorted(SUFFIXES))}), got {value!r}."
            )
        return path, _only_images(key, kind)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), _only_images(key, kind)
    if value is None or isinstance(value, Mapping | set):
        raise InputError(
            f"Expected a vector, an image or a text for {key!r}, got {type(value).__name__}."
        )
    if not isinstance(value, np.ndarray) and is_pil_image(value):
        return value, _only_images(key, kind)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"Expected a vector or an image for {key!r}, got {type(value).__name__}: {error}"
        ) from error
    value_kind = row_kind(array.dtype, array.shape, kind, repr(key))
    return (array.reshape(-1) if value_kind == "vectors" else array), value_kind


def _only_images(key: str, kind: str) -> str:
    if kind == "vectors":
        raise InputError(f"Expected a vector for {key!r}, got an image; leave kind at 'auto'.")
    return "images"
