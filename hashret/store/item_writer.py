"""What can be written to an index's database, inside one transaction."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError, UsageError
from hashret.store.item_reader import ItemReader
from hashret.store.items import NewItem, item_checksum
from hashret.store.vectors import insert_vectors
from hashret.store.where import index_field


class ItemWriter(ItemReader):
    """A transaction on the database of an index, which :meth:`ItemStore.writing` gives.

    What it reads is what it has written so far; nobody else sees that before it is committed.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Write through a connection that has begun a transaction."""
        super().__init__(path, connection)
        self.new_segments: list[str] = []
        self._count = super().count()

    def count(self) -> int:
        """How many items there are, those that are being written included."""
        return self._count

    def count_generation(self) -> None:
        """Make what was written the next state: the last thing before it is committed."""
        self.change_settings(
            {
                "items": self._count,
                "generation": self.generation + 1,
                "commit": secrets.token_hex(8),
                "identity": self.setting("identity") or secrets.token_hex(8),
            }
        )

    def change_settings(self, settings: Mapping[str, Any]) -> None:
        """Set JSON values by name."""
        self._connection.executemany(
            "insert or replace into settings (name, value) values (?, ?)",
            [(name, json.dumps(value)) for name, value in settings.items()],
        )

    # Items

    def insert(self, items: Iterable[NewItem], source: int | None) -> range:
        """Add items under keys that do not exist yet; returns the rows they took, in order."""
        first = self._next_row()
        cursor = self._connection.executemany(
            "insert into items (row, key, code, fields, content_hash, source, position, checksum) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (row, key, code, fields, digest, source, position, checksum)
                for row, (key, code, fields, digest, position) in enumerate(items, first)
                for checksum in (item_checksum(key, code, fields, digest),)
            ),
        )
        count = max(cursor.rowcount, 0)
        self._count += count
        return range(first, first + count)

    def _next_row(self) -> int:
        """One more than any row that ever was: a row is never used twice."""
        found = self._connection.execute("select seq from sqlite_sequence where name = 'items'")
        latest = found.fetchone()
        return 1 if latest is None else int(latest[0]) + 1

    def insert_at(
        self,
        row: int,
        item: NewItem,
        source: int | None,
        vector: tuple[int, int, bytes, int] | None = None,
    ) -> None:
        """Add an item in the row it had, with its record of ``vectors`` if it has one."""
        self._connection.execute(
            "insert into items (row, key, code, fields, content_hash, source, position, checksum) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row,
                item.key,
                item.code,
                item.fields,
                item.content_hash,
                source,
                item.position,
                item.checksum,
            ),
        )
        self._count += 1
        if vector is not None:
            self._connection.execute(
                "insert into vectors (row, exponent, vector, checksum) values (?, ?, ?, ?)", vector
            )

    def change_fields(self, items: Iterable[tuple[int, str]]) -> None:
        """Replace the fields (JSON text) of rows whose value stayed as it was."""
        for row, fields in items:
            key, code, digest = self._connection.execute(
                "select key, code, content_hash from items where row = ?", [row]
            ).fetchone()
            self._connection.execute(
                "update items set fields = ?, checksum = ? where row = ?",
                [fields, item_checksum(key, code, fields, digest), row],
            )

    def delete_rows(self, rows: Iterable[int]) -> None:
        """Delete items; a row that stands in a segment is listed in ``deletions``."""
        numbers = [(row,) for row in rows]
        watermark = self.last_segment_row()
        cursor = self._connection.executemany("delete from items where row = ?", numbers)
        self._count -= max(cursor.rowcount, 0)
        self._connection.executemany(
            "insert or ignore into deletions (row) values (?)",
            [number for number in numbers if number[0] <= watermark],
        )

    def relocate(self, items: Iterable[tuple[int, int | None]], source: int | None) -> None:
        """Note that unchanged items, given as row and position, now lie in another source."""
        self._connection.executemany(
            "update items set source = ?, position = ? where row = ?",
            [(source, position, row) for row, position in items],
        )

    def keep_vectors(self, rows: Sequence[int], matrix: NDArray[np.float32]) -> None:
        """Keep the feature rows ``(n, vector_length)`` of items that were just inserted."""
        insert_vectors(self._connection, rows, matrix)

    # What came from where

    def files_with(self, digests: Iterable[bytes]) -> dict[bytes, tuple[int, bytes]]:
        """Row and code of a stored file for each of these content hashes that has one."""
        found = {}
        for digest in digests:
            record = self._connection.execute(
                "select row, key, code, fields, checksum from items "
                "where content_hash = ? and source is not null and position is null limit 1",
                [digest],
            ).fetchone()
            if record is not None:
                row, key, code, fields, checksum = record
                if checksum == item_checksum(key, code, fields, digest):
                    found[digest] = (row, code)
        return found

    def files_under(self, folder: str) -> Iterator[tuple[int, str]]:
        """Row and key of the items that are files anywhere in a folder, by key."""
        start = folder.rstrip("/") + "/"
        return self._connection.execute(
            "select row, key from items where key >= ? and key < ? "
            "and source is not null and position is null order by key",
            [start, start[:-1] + "0"],  # which follows "/"
        )

    def rows_from(self, location: str) -> Iterator[tuple[int, str]]:
        """Row and key of the items that are rows of an array file."""
        return self._connection.execute(
            "select row, key from items where position is not null "
            "and source = (select id from sources where location = ?)",
            [location],
        )

    # Sources and field names

    def source_id(self, location: str | None) -> int | None:
        """The number of a source on disk, noted when it is new; None for Python data."""
        if location is None:
            return None
        self._connection.execute("insert or ignore into sources (location) values (?)", [location])
        found = self._connection.execute("select id from sources where location = ?", [location])
        return int(found.fetchone()[0])

    def note_fields(self, names: Iterable[str]) -> None:
        """Remember field names, so that conditions can use them.

        Raises:
            InputError: a name differs from another one only in case, which SQL does not see.
        """
        known = {name.lower(): name for name in self.field_names()}
        for name in names:
            if known.setdefault(name.lower(), name) != name:
                raise InputError(
                    f"The field {name!r} differs from the field {known[name.lower()]!r} only in "
                    "case, which conditions do not see; give it the same name, or another."
                )
            self._connection.execute("insert or ignore into fields (name) values (?)", [name])

    def index_field(self, name: str) -> None:
        """Make conditions on a field fast; where they are already, this changes nothing.

        Raises:
            UsageError: no item was ever given such a field.
        """
        names = {known.lower(): known for known in self.field_names()}
        if not isinstance(name, str) or name.lower() not in names:
            raise UsageError(
                f"There is no field {name!r} to make an index on; the fields are "
                f"{', '.join(names.values()) or 'none'}."
            )
        index_field(self._connection, names[name.lower()])

    # Segments

    def replace_segments(
        self,
        replaced: Iterable[str],
        name: str,
        first: int,
        last: int,
        manifest: int | None = None,
    ) -> None:
        """Name a published segment, in the place of those it ``replaced``.

        The CRC-32 of its ``manifest`` tells it from another one under its name.
        """
        self._connection.executemany(
            "delete from segments where name = ?", [(old,) for old in replaced]
        )
        self._connection.execute(
            "insert into segments (name, first_row, last_row, manifest) values (?, ?, ?, ?)",
            [name, first, last, manifest],
        )
        self.new_segments.append(name)

    def forget_deletions(self, first: int, last: int) -> None:
        """Drop deletions that no segment needs any more."""
        self._connection.execute("delete from deletions where row between ? and ?", [first, last])
