"""Items by row and by key, their codes and fields, and what else an index must remember."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from hashret.codes import Codes
from hashret.errors import DamagedIndexError, IndexLockedError, InputError, UsageError
from hashret.store.checking import database_problems
from hashret.store.connection import at_once, connect, is_writable, sqlite_errors, stamp
from hashret.store.items import RESTORE, KnownItem, NewItem, StoredItem, item_checksum, stored_item
from hashret.store.migrations import FORMAT, migrations
from hashret.store.vectors import insert_vectors, read_vectors, vector_problems
from hashret.store.where import matching_rows

_ITEM_SQL = """
select items.row, items.key, items.code, items.fields, sources.location, items.position
from items left join sources on sources.id = items.source
"""


class ItemStore:
    """The database of one index.

    Reading methods may be called inside :meth:`reading`, which holds one committed state;
    writing methods only inside :meth:`writing`, which commits everything or nothing.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Wrap an open connection; use :meth:`create` or :meth:`open`."""
        self.path = path
        self.writing_now = False
        self._connection = connection
        self._writable = is_writable(path)
        self._stamp = stamp(path)

    @classmethod
    def create(cls, path: Path, settings: Mapping[str, Any]) -> ItemStore:
        """Make an empty database with its settings, JSON values by name.

        ``vector_length`` among them says that the feature rows of items, of that length, are kept.
        """
        store = cls(path, connect(path, create=True))
        with sqlite_errors(path):
            migrations.apply(Database(store._connection))
        with store.writing():
            version = 1 if settings.get("vector_length") is None else FORMAT
            store.change_settings({"format": version, "generation": 0, **settings})
        return store

    @classmethod
    def open(cls, path: Path) -> ItemStore:
        """Open an existing database, bringing an older schema up to date.

        Raises:
            DamagedIndexError: the file is missing, damaged, or of a newer format.
        """
        store = cls(path, connect(path))
        try:
            with sqlite_errors(path):
                version = store.setting("format")
                if not isinstance(version, int) or version > FORMAT:
                    raise DamagedIndexError(
                        f"{path} has index format {version!r}; this hashret reads up to format "
                        f"{FORMAT}. Upgrade hashret to open it."
                    )
                store._update_schema()
        except BaseException:
            store.close()
            raise
        return store

    def _update_schema(self) -> None:
        """Apply new migrations; what is read of an older index was there before them.

        So where the index cannot be written, or is being written just now, that can wait.
        """
        database = Database(self._connection)
        if not self._writable or not migrations.pending(database):
            return
        with at_once(self._connection), suppress(IndexLockedError), self.writing():
            migrations.apply(database)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold one committed state: everything read inside belongs to the same moment."""
        with sqlite_errors(self.path):
            if self._connection.in_transaction:
                yield
                return
            if not self._writable and stamp(self.path) != self._stamp:
                self._connection.close()
                self._connection = connect(self.path)
                self._stamp = stamp(self.path)
            self._connection.execute("begin")
            try:
                yield
            finally:
                self._connection.execute("rollback")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: committed and on disk when the block ends, undone when it raises."""
        with sqlite_errors(self.path):
            self._connection.execute("begin immediate")
            self.writing_now = True
            try:
                yield
                self._connection.execute(
                    "update settings set value = value + 1 where name = 'generation'"
                )
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise
            finally:
                self.writing_now = False

    # Settings

    def setting(self, name: str) -> Any:
        """A setting's JSON value, or None."""
        found = self._connection.execute(
            "select value from settings where name = ?", [name]
        ).fetchone()
        if found is None:
            return None
        try:
            return json.loads(found[0])
        except (TypeError, ValueError) as error:
            raise DamagedIndexError(
                f"The setting {name!r} in {self.path} is damaged. {RESTORE}"
            ) from error

    def change_settings(self, settings: Mapping[str, Any]) -> None:
        """Set JSON values by name."""
        self._connection.executemany(
            "insert or replace into settings (name, value) values (?, ?)",
            [(name, json.dumps(value)) for name, value in settings.items()],
        )

    @property
    def generation(self) -> int:
        """A number that grows with every committed change."""
        return int(self.setting("generation") or 0)

    # Items

    def count(self) -> int:
        """How many items there are."""
        return int(self._connection.execute("select count(*) from items").fetchone()[0])

    def count_from(self, first_row: int) -> int:
        """How many items have ``first_row`` or a later one."""
        found = self._connection.execute("select count(*) from items where row >= ?", [first_row])
        return int(found.fetchone()[0])

    def by_keys(self, keys: Sequence[str]) -> dict[str, KnownItem]:
        """What is known of those ``keys`` that exist."""
        found = self._connection.execute(
            "select key, row, fields, content_hash, source from items "
            "where key in (select value from json_each(?))",
            [json.dumps(list(keys))],
        )
        return {key: KnownItem(row, fields, digest, src) for key, row, fields, digest, src in found}

    def item(self, key: str) -> StoredItem | None:
        """The item with this key, or None."""
        found = self._connection.execute(f"{_ITEM_SQL} where items.key = ?", [key]).fetchone()
        return None if found is None else stored_item(found)

    def items_of(self, rows: Sequence[int] | NDArray[np.int64]) -> dict[int, StoredItem]:
        """The items of ``rows``, by row; rows that do not exist are left out."""
        wanted = json.dumps([int(row) for row in rows])
        found = self._connection.execute(
            f"{_ITEM_SQL} where items.row in (select value from json_each(?))", [wanted]
        )
        return {record[0]: stored_item(record) for record in found}

    def items_in_order(
        self, limit: int | None = None, where: str | None = None
    ) -> list[StoredItem]:
        """Items by ascending row, at most ``limit``, those that satisfy ``where``."""
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise UsageError(f"limit must be a number of at least 1 or None, not {limit!r}.")
        if where is not None:
            rows = self.rows_where(where)[:limit]
            items = self.items_of(rows)
            return [items[int(row)] for row in rows]
        found = self._connection.execute(
            f"{_ITEM_SQL} order by items.row limit ?",
            [-1 if limit is None else min(limit, 2**63 - 1)],
        )
        return [stored_item(record) for record in found]

    def item_blocks(self, size: int) -> Iterator[list[StoredItem]]:
        """All items by ascending row, ``size`` at a time, so that memory stays bounded."""
        last = -1
        while block := [
            stored_item(record)
            for record in self._connection.execute(
                f"{_ITEM_SQL} where items.row > ? order by items.row limit ?", [last, size]
            )
        ]:
            yield block
            last = block[-1].row

    def insert(self, items: Iterable[NewItem], source: int | None) -> None:
        """Add items under keys that do not exist yet."""
        self._connection.executemany(
            "insert into items (key, code, fields, content_hash, source, position, checksum) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            (
                (i.key, i.code, i.fields, i.content_hash, source, i.position, i.checksum)
                for i in items
            ),
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
        self._connection.executemany("delete from items where row = ?", numbers)
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

    def rows_where(self, condition: str) -> NDArray[np.int64]:
        """Rows, ascending, that satisfy an SQL condition; see :mod:`hashret.store.where`."""
        return matching_rows(self._connection, self.field_names(), condition)

    def codes(self, first_row: int, last_row: int | None = None) -> tuple[NDArray[np.int64], Codes]:
        """Rows and codes of the items from ``first_row`` to ``last_row``, both included.

        Returns:
            ``int64`` rows ``(n,)``, ascending, and ``uint8`` codes ``(n, n_bits / 8)``.

        Raises:
            DamagedIndexError: a code has another length than the index's.
        """
        n_bytes = int(self.setting("n_bits")) // 8
        last = 2**63 - 1 if last_row is None else last_row
        where = "from items where row between ? and ?"
        count, mislaid = self._connection.execute(
            f"select count(*), sum(typeof(code) <> 'blob' or length(code) <> ?) {where}",
            [n_bytes, first_row, last],
        ).fetchone()
        if mislaid:
            raise DamagedIndexError(
                f"{self.path} holds {mislaid} codes that are not {n_bytes} bytes long; "
                "`hashret verify` names the items. Restore items.db from a copy."
            )
        rows = np.empty(count, dtype=np.int64)
        codes = np.empty((count, n_bytes), dtype=np.uint8)
        flat = codes.reshape(-1)
        found = self._connection.execute(
            f"select row, code {where} order by row",
            [first_row, last],
        )
        position = 0
        while batch := found.fetchmany(50_000):
            end = position + len(batch)
            rows[position:end] = [row for row, _ in batch]
            joined = b"".join([code for _, code in batch])
            flat[position * n_bytes : end * n_bytes] = np.frombuffer(joined, dtype=np.uint8)
            position = end
        return rows, codes

    def codes_of(self, rows: Sequence[int] | NDArray[np.int64]) -> dict[int, bytes]:
        """The codes of ``rows``, by row; rows that do not exist are left out."""
        wanted = json.dumps([int(row) for row in rows])
        return dict(
            self._connection.execute(
                "select row, code from items where row in (select value from json_each(?))",
                [wanted],
            )
        )

    # Kept vectors

    @property
    def vector_length(self) -> int | None:
        """How many values a kept feature row has; None where none are kept."""
        length = self.setting("vector_length")
        return None if length is None else int(length)

    def keep_vectors(self, keys: Sequence[str], matrix: NDArray[np.float32]) -> None:
        """Keep the feature rows ``(n, vector_length)`` of items that were just inserted."""
        known = self.by_keys(keys)
        insert_vectors(self._connection, [known[key].row for key in keys], matrix)

    def vectors_of(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """The kept feature rows of items, ``float32``, ``(len(rows), vector_length)``, in order.

        Raises:
            DamagedIndexError: one is missing, or does not match its checksum.
        """
        with sqlite_errors(self.path):
            return read_vectors(
                self._connection, [int(row) for row in rows], self.vector_length or 0
            )

    # Sources and field names

    def source_id(self, location: str | None) -> int | None:
        """The number of a source on disk, noted when it is new; None for Python data."""
        if location is None:
            return None
        self._connection.execute("insert or ignore into sources (location) values (?)", [location])
        found = self._connection.execute("select id from sources where location = ?", [location])
        return int(found.fetchone()[0])

    def sources(self) -> dict[int, str]:
        """The locations of all sources on disk, by number."""
        return dict(self._connection.execute("select id, location from sources order by id"))

    def field_names(self) -> list[str]:
        """The names of all fields that an item was ever given, in alphabetical order."""
        return [name for (name,) in self._connection.execute("select name from fields order by 1")]

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

    # Segments

    def segments(self) -> list[tuple[str, int, int]]:
        """Name, first row and last row of every segment, by first row."""
        return list(
            self._connection.execute(
                "select name, first_row, last_row from segments order by first_row"
            )
        )

    def last_segment_row(self) -> int:
        """The last row that a segment covers; later rows are the tail."""
        found = self._connection.execute("select max(last_row) from segments").fetchone()
        return int(found[0] or 0)

    def replace_segments(self, replaced: Iterable[str], name: str, first: int, last: int) -> None:
        """Name a published segment, in the place of those it ``replaced``."""
        self._connection.executemany(
            "delete from segments where name = ?", [(old,) for old in replaced]
        )
        self._connection.execute("insert into segments values (?, ?, ?)", [name, first, last])

    def forget_deletions(self, first: int, last: int) -> None:
        """Drop deletions that no segment needs any more."""
        self._connection.execute("delete from deletions where row between ? and ?", [first, last])

    def deletions(self) -> NDArray[np.int64]:
        """Rows, ascending, that stand in a segment and are no longer items."""
        found = self._connection.execute("select row from deletions order by row").fetchall()
        return np.fromiter((row for (row,) in found), dtype=np.int64, count=len(found))

    # Verification

    def problems(self) -> Iterator[str]:
        """What is wrong with the database itself, and with items whose checksum does not fit."""
        yield from database_problems(self._connection, int(self.setting("n_bits")) // 8)
        if (length := self.vector_length) is not None:
            yield from vector_problems(self._connection, length)
