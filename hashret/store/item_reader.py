"""What can be read of an index's database, of one state of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import DamagedIndexError, UsageError
from hashret.store.checking import database_problems
from hashret.store.connection import sqlite_errors
from hashret.store.facts import StoreFacts
from hashret.store.items import (
    KnownItem,
    Record,
    StoredItem,
    checked_records,
    stored_item,
    stored_items,
)
from hashret.store.room import room_for
from hashret.store.vectors import read_vectors, vector_problems
from hashret.store.where import matching_rows

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


class ItemReader(StoreFacts):
    """Items by row and by key, their codes and fields, and what else an index must remember."""

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

        Half the work of :meth:`items_of`, for callers that need few of them as items.
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
            later = "" if after is None else "where items.key > ?"  # an `or` would scan all keys
            found = self._connection.execute(
                f"{_ITEM_SQL} {later} order by items.key limit ?",
                [*([] if after is None else [after]), -1 if limit is None else limit],
            )
            return [stored_item(record) for record in found]
        keys = self.keys_of(self.rows_where(where))
        wanted = (row for row, key in keys.items() if after is None or key > after)
        rows = sorted(wanted, key=keys.__getitem__)[:limit]
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
        rows, codes = room_for(count, n_bytes, room)
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

    def vectors_of(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """The kept feature rows of items, ``float32``, ``(len(rows), vector_length)``, in order.

        Raises:
            DamagedIndexError: one is missing, or does not match its checksum.
        """
        with sqlite_errors(self.path):
            return read_vectors(
                self._connection, [int(row) for row in rows], self.vector_length or 0
            )

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
