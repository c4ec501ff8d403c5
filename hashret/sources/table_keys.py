"""Which keys the records of a table have, in eight bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.sources.records import Positions
from hashret.sources.tables import Table


class TableKeys:
    """The keys of a table, known by their hashes; or the numbers of its records.

    Args:
        table: the table, of which one pass is read.
        prefix: what each key begins with.

    Attributes:
        length: how many positions the table has.
        empty: those of them that hold nothing.
        twice: the hashes of keys that seem to come more than once.
        unread: of how many records the key cannot be read.

    Raises:
        InputError: the table cannot be read.
    """

    def __init__(self, table: Table, prefix: str) -> None:
        """Read the keys, or count the records where these are numbered."""
        self._table, self._prefix = table, prefix
        self.unread = 0
        self.empty: Positions | frozenset[int]
        self._hashes: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        if table.choice.id_column is None:
            self.length, self.empty = table.reader.count()
        else:
            self._read(table.choice.id_column)
        repeated = self._hashes[1:][self._hashes[1:] == self._hashes[:-1]]
        self.twice: frozenset[int] = frozenset(repeated.tolist())

    def holds(self, key: str) -> bool:
        """Whether a record has this key, as far as its hash tells."""
        if self._table.choice.id_column is None:
            row = key.removeprefix(self._prefix)
            is_row = key.startswith(self._prefix) and row.isdecimal() and len(row) <= 18
            if not is_row or row != str(int(row)) or int(row) >= self.length:
                return False
            return int(row) not in self.empty
        place = int(np.searchsorted(self._hashes, hash(key)))
        return place < len(self._hashes) and int(self._hashes[place]) == hash(key)

    def named(self) -> Iterator[str]:
        """The keys of the column of keys, each once."""
        id_column = self._table.choice.id_column
        if id_column is None:
            return
        seen: set[str] = set()
        for record in self._table.reader.records(columns=[id_column]):
            try:
                key = self._prefix + (self._table.key(record) or "")
            except InputError:
                continue
            if record.values is None or (hash(key) in self.twice and key in seen):
                continue
            if hash(key) in self.twice:
                seen.add(key)
            yield key

    def _read(self, id_column: str) -> None:
        hashes, empty = array("q"), Positions()
        self.length = 0
        for record in self._table.reader.every([id_column]):
            if record is None:
                empty.add(self.length)
            else:
                try:
                    key = self._table.key(record)
                except InputError:
                    key = None
                if key is None:
                    self.unread += 1
                else:
                    hashes.append(hash(self._prefix + key))
            self.length += 1
        self.empty = empty
        if hashes:
            self._hashes = np.sort(np.frombuffer(hashes, dtype=np.int64))
