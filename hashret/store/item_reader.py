"""What can be read of an index's database, of one state of it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import DamagedIndexError, HashretError, UsageError
from hashret.store.checking import database_problems
from hashret.store.connection import sqlite_errors
from hashret.store.items import (
    RESTORE,
    KnownItem,
    Record,
    StoredItem,
    checked_records,
    stored_item,
    stored_items,
)
from hashret.store.vectors import read_vectors, vector_problems
from hashret.store.where import indexed_fields, matching_rows

_ITEM_SQL = """
select items.row, items.key, items.code, items.fields, items.content_hash, items.checksum,
       sources.location, items.position
from items left join sources on sources.id = items.source
"""


class MovedItem(NamedTuple):
    """An item as it is stored, with where it came from."""

    row: int
    key: str
    code: bytes
    fields: str
    content_hash: bytes
    source: str | None
    position: int | None


HELD_BYTES = 1 << 29
"""Rows and codes of more bytes than this lie in files, where there is room for them."""


def _room_for(count: int, n_bytes: int, room: Path | None) -> tuple[NDArray[np.int64], Codes]:
    if room is None or count * (8 + n_bytes) <= HELD_BYTES:
        return np.empty(count, dtype=np.int64), np.empty((count, n_bytes), dtype=np.uint8)
    try:
        room.mkdir(parents=True, exist_ok=True)
        return (
            _mapped(room / "rows.npy", (count,), np.int64),
            _mapped(room / "codes.npy", (count, n_bytes), np.uint8),
        )
    except OSError as error:
        raise HashretError(
            f"{room} has no room for the {count:,} codes ({error.strerror or error}). Nothing was "
            f"changed; make {count * (8 + n_bytes):,} bytes free and try again."
        ) from error


def _mapped(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    # Writing where the disk has no block left would kill the process.
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


class ItemReader:
    """Items by row and by key, their codes and fields, and what else an index must remember."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Read the database at ``path`` through an open connection."""
        self.path = path
        self._connection = connection

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
        except (TypeError, ValueError, RecursionError) as error:
            raise self._damaged_setting(name) from error

    def _damaged_setting(self, name: str) -> DamagedIndexError:
        return DamagedIndexError(f"The setting {name!r} in {self.path} is damaged. {RESTORE}")

    def settings(self) -> dict[str, Any]:
        """All settings by name."""
        names = [name for (name,) in self._connection.execute("select name from settings")]
        return {name: self.setting(name) for name in names}

    @property
    def generation(self) -> int:
        """A number that grows with every committed change."""
        number = self.setting("generation") or 0
        if not isinstance(number, int):
            raise self._damaged_setting("generation")
        return number

    @property
    def commit(self) -> str:
        """The name of the state that is shown, which no state of any other copy or index has."""
        return str(self.setting("commit") or self.generation)

    # Items

    def count(self) -> int:
        """How many items there are."""
        noted = self.setting("items")
        return noted if isinstance(noted, int) else self._counted()

    def _counted(self) -> int:
        return int(self._connection.execute("select count(*) from items").fetchone()[0])

    def count_from(self, first_row: int) -> int:
        """How many items have ``first_row`` or a later one."""
        found = self._connection.execute("select count(*) from items where row >= ?", [first_row])
        return int(found.fetchone()[0])

    def by_keys(self, keys: Sequence[str]) -> dict[str, KnownItem]:
        """What is known of those ``keys`` that exist."""
        found = self._connection.execute(
            "select key, row, fields, content_hash, source, position from items "
            "where key in (select value from json_each(?))",
            [json.dumps(list(keys))],
        )
        return {key: KnownItem(*known) for key, *known in found}

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
        return {item.row: item for item in stored_items(found.fetchall())}

    def records_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Record]:
        """What is stored of the items of ``rows`` that exist, in any order.

        Half the work of :meth:`items_of`, for who needs few of them as items.
        """
        wanted = json.dumps([int(row) for row in rows])
        found = self._connection.execute(
            f"{_ITEM_SQL} where items.row in (select value from json_each(?))", [wanted]
        )
        return checked_records(found.fetchall())

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

    def items_by_key(
        self, limit: int | None, where: str | None = None, after: str | None = None
    ) -> list[StoredItem]:
        """Items in the order of their keys, at most ``limit``, of keys later than ``after``.

        Args:
            limit: None for all.
            where: only items that satisfy this condition.
            after: None begins with the first key.
        """
        if where is None:
            found = self._connection.execute(
                f"{_ITEM_SQL} where items.key > ? or ? order by items.key limit ?",
                [after or "", after is None, -1 if limit is None else limit],
            )
            return [stored_item(record) for record in found]
        keys = self.keys_of(self.rows_where(where))
        later = (row for row, key in keys.items() if after is None or key > after)
        rows = sorted(later, key=keys.__getitem__)[:limit]
        items = self.items_of(rows)
        return [items[row] for row in rows]

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

    def moved_items(self, size: int) -> Iterator[list[MovedItem]]:
        """All items by ascending row, so many at a time, as another database can take them over.

        Raises:
            DamagedIndexError: one does not match its checksum.
        """
        last = 0
        while found := self._connection.execute(
            f"{_ITEM_SQL} where items.row > ? order by items.row limit ?", [last, size]
        ).fetchall():
            stored_items(found)  # raises where one is damaged
            yield [
                MovedItem(row, key, code, fields, digest, location, position)
                for row, key, code, fields, digest, _, location, position in found
            ]
            last = found[-1][0]

    def rows_where(self, condition: str) -> NDArray[np.int64]:
        """Rows, ascending, that satisfy an SQL condition; see :mod:`hashret.store.where`."""
        return matching_rows(self._connection, self.field_names(), condition)

    def codes(
        self, first_row: int, last_row: int | None = None, room: Path | None = None
    ) -> tuple[NDArray[np.int64], Codes]:
        """Rows and codes of the items from ``first_row`` to ``last_row``, both included.

        Args:
            first_row: where they begin.
            last_row: where they end; None for the last there is.
            room: a folder in which they may lie in files, where they take more than 512 MiB;
                otherwise they are held in memory.

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
        rows, codes = _room_for(count, n_bytes, room)
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

    def keys_of(self, rows: Sequence[int] | NDArray[np.int64]) -> dict[int, str]:
        """The keys of ``rows``, by row; rows that do not exist are left out."""
        wanted = json.dumps([int(row) for row in rows])
        return dict(
            self._connection.execute(
                "select row, key from items where row in (select value from json_each(?))",
                [wanted],
            )
        )

    def rows_by_key(self) -> NDArray[np.int64]:
        """All rows in the order of their keys, which are compared as UTF-8 bytes; ``int64``."""
        found = self._connection.execute("select row from items order by key")
        return np.fromiter((row for (row,) in found), dtype=np.int64)

    # Kept vectors

    @property
    def vector_length(self) -> int | None:
        """How many values a kept feature row has; None where none are kept."""
        length = self.setting("vector_length")
        if length is not None and (type(length) is not int or length < 1):
            raise self._damaged_setting("vector_length")
        return length

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

    def sources(self) -> dict[int, str]:
        """The locations of all sources on disk, by number."""
        return dict(self._connection.execute("select id, location from sources order by id"))

    def field_names(self) -> list[str]:
        """The names of all fields that an item was ever given, in alphabetical order."""
        return [name for (name,) in self._connection.execute("select name from fields order by 1")]

    def indexed_fields(self) -> list[str]:
        """The names of the fields on which conditions are fast, in alphabetical order."""
        return indexed_fields(self._connection)

    # Segments

    def segments(self) -> list[tuple[str, int, int]]:
        """Name, first row and last row of every segment, by first row."""
        found = self._connection.execute(
            "select name, first_row, last_row from segments order by first_row"
        ).fetchall()
        if any(tuple(map(type, one)) != (str, int, int) for one in found):
            raise DamagedIndexError(f"The list of segments in {self.path} is damaged. {RESTORE}")
        return found

    def manifest_of(self, segment: str) -> int | None:
        """The CRC-32 of a segment's manifest; None where it was not noted."""
        names = self._connection.execute("select name from pragma_table_info('segments')")
        if ("manifest",) not in names.fetchall():
            return None
        found = self._connection.execute("select manifest from segments where name = ?", [segment])
        (crc32,) = found.fetchone() or (None,)  # in a damaged database, two lists may disagree
        return crc32 if isinstance(crc32, int) else None

    def last_segment_row(self) -> int:
        """The last row that a segment covers; later rows are the tail."""
        found = self._connection.execute("select max(last_row) from segments").fetchone()
        return int(found[0] or 0)

    def deletions(self) -> NDArray[np.int64]:
        """Rows, ascending, that stand in a segment and are no longer items."""
        found = self._connection.execute("select row from deletions order by row").fetchall()
        return np.fromiter((row for (row,) in found), dtype=np.int64, count=len(found))

    def page_count(self) -> int:
        """How many pages the database has."""
        return int(self._connection.execute("pragma page_count").fetchone()[0])

    def free_page_count(self) -> int:
        """How many pages of the database hold nothing."""
        return int(self._connection.execute("pragma freelist_count").fetchone()[0])

    # Verification

    def row_problems(self) -> Iterator[str]:
        """What is wrong with the database itself, and with items whose checksum does not fit."""
        try:
            n_bits, length, noted = (
                self.setting(name) for name in ("n_bits", "vector_length", "items")
            )
        except (sqlite3.Error, UnicodeDecodeError, DamagedIndexError) as error:
            yield f"items.db: {error}"
            return
        if not isinstance(n_bits, int):
            yield f"items.db: the setting n_bits is {n_bits!r}"
            return
        whole = True
        try:
            self.segments()
        except (sqlite3.Error, DamagedIndexError) as error:
            yield f"items.db: {error}"
        for problem in database_problems(self._connection, n_bits // 8):
            whole = False
            yield problem
        if whole and noted not in (None, self._counted()):
            yield f"items.db: {self._counted()} items are left of {noted}"
        if isinstance(length, int):
            yield from vector_problems(self._connection, length)
