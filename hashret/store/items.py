"""What the store writes and reads: an item, its fields as JSON, its checksum."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hashret.codes import Codes
from hashret.errors import DamagedIndexError, InputError

RESTORE = "Restore items.db from a copy, or build the index again from its sources."

_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_ENCODING = re.compile(r"\?encoding=[^/?#&]+\Z")
_LENGTH = struct.Struct("<Q").pack
_BREAK = "\n"
_BY_LINES = json.JSONEncoder(
    sort_keys=True, separators=(_BREAK, ":"), ensure_ascii=False, allow_nan=False
)


class NewItem(NamedTuple):
    """An item to be written: what came from a source, with its code."""

    key: str
    code: bytes
    fields: str
    content_hash: bytes
    position: int | None = None

    @property
    def checksum(self) -> int:
        """CRC-32 of everything that identifies the item, kept beside it."""
        return item_checksum(self.key, self.code, self.fields, self.content_hash)


@dataclass(frozen=True, slots=True)
class KnownItem:
    """What decides whether an item that comes again has changed."""

    row: int
    fields: str
    content_hash: bytes
    source: int | None
    position: int | None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item of an index.

    Attributes:
        row: the engine's integer for it.
        key: its unique name.
        code: ``uint8``, shape ``(n_bits / 8,)``.
        fields: what is known about it, JSON values by name.
        location: where its value can be read again: a path, or a path, ``#`` and the row number
            in an array file, with how it was read where that is not the usual way; None for items
            that came from Python.
    """

    row: int
    key: str
    code: Codes = field(repr=False, compare=False)
    fields: dict[str, Any] = field(hash=False)
    location: str | None = None


def item_checksum(key: str, code: bytes, fields: str, content_hash: bytes) -> int:
    """CRC-32 over the parts of an item, each preceded by its length."""
    name, text = key.encode("utf-8", "surrogateescape"), fields.encode()
    parts = (
        *(_LENGTH(len(name)), name),
        *(_LENGTH(len(code)), code),
        *(_LENGTH(len(text)), text),
        *(_LENGTH(len(content_hash)), content_hash),
    )
    return zlib.crc32(b"".join(parts))


def encode_fields(fields: Mapping[str, Any]) -> str:
    """Fields as canonical JSON, so that equal fields are equal texts.

    Raises:
        InputError: a value has no JSON form.
    """
    if not fields:
        return "{}"
    try:
        return _CANONICAL.encode(dict(fields))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"Fields hold text, finite numbers, true, false or null by name; those named "
            f"{', '.join(map(repr, fields))} do not ({error})."
        ) from error


def encode_many(fields: Sequence[Mapping[str, Any]]) -> list[str]:
    """What :func:`encode_fields` makes of each, of fields that were checked, in half the time."""
    if not any(fields):
        return ["{}"] * len(fields)
    # In JSON, a line break within a text is escaped: each one here stands between two parts.
    joined = _BY_LINES.encode(list(fields))[2:-2]
    return [f"{{{part.replace(_BREAK, ',')}}}" for part in joined.split(f"}}{_BREAK}{{")]


def stored_item(record: tuple[Any, ...]) -> StoredItem:
    """An item from its record.

    That is its row, key, code, fields, content hash and checksum, the location of its source and
    its position there.

    Raises:
        DamagedIndexError: it does not match its checksum.
    """
    try:
        values = json.loads(record[3])
    except (TypeError, ValueError, RecursionError) as error:
        raise DamagedIndexError(
            f"The fields of item {record[1]!r} (row {record[0]}) in items.db are damaged. {RESTORE}"
        ) from error
    return _item(record, values)


Record: TypeAlias = tuple[int, str, bytes, str, str | None]
"""Row, key, code, fields as a JSON text, and location of an item."""


def checked_records(records: Sequence[tuple[Any, ...]]) -> list[Record]:
    """What :func:`stored_item` makes of each, without looking into the fields.

    Raises:
        DamagedIndexError: one does not match its checksum.
    """
    found: list[Record] = []
    for row, key, code, fields, digest, checksum, location, position in records:
        whole = isinstance(code, bytes) and isinstance(key, str) and isinstance(fields, str)
        if not whole or checksum != item_checksum(key, code, fields, digest):
            raise _mismatch(row)
        found.append((row, key, code, fields, _place(key, location, position)))
    return found


def stored_items(records: Sequence[tuple[Any, ...]]) -> list[StoredItem]:
    """What :func:`stored_item` makes of each, in less time."""
    try:
        values = json.loads(f"[{','.join([record[3] for record in records])}]")
    except (TypeError, ValueError, RecursionError):
        values = []
    if len(values) != len(records):
        return [stored_item(record) for record in records]
    return [_item(record, one) for record, one in zip(records, values, strict=True)]


def _item(record: tuple[Any, ...], values: object) -> StoredItem:
    row, key, code, fields, digest, checksum, location, position = record
    whole = isinstance(code, bytes) and isinstance(key, str) and isinstance(fields, str)
    if (
        not whole
        or not isinstance(values, dict)
        or checksum != item_checksum(key, code, fields, digest)
    ):
        raise _mismatch(row)
    place = _place(key, location, position)
    return StoredItem(row, key, np.frombuffer(code, dtype=np.uint8), values, place)


def _mismatch(row: int) -> DamagedIndexError:
    return DamagedIndexError(
        f"Row {row} of items.db does not match its checksum: `hashret verify` names all that "
        f"do not. {RESTORE}"
    )


def _place(key: str, location: str | None, position: int | None) -> str | None:
    if location is None:
        return None
    return key + _encoding_of(location) if position is None else f"{location}#{position}"


def _encoding_of(location: str) -> str:
    """The end of a source's location that tells the encoding of its files, where it tells one."""
    found = _ENCODING.search(location) if "?" in location else None
    return found[0] if found else ""
