"""Which of many items come first by key, without reading all of their keys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashret.store import ItemReader

_READING_COST = 10
"""Reading a key by its row takes as long as listing so many rows in the order of their keys."""

_UNRANKED = np.iinfo(np.uint32).max


class KeyOrder:
    """The ranks of an index's rows by key: a row has one key for ever, so a rank stays true.

    Rows that were added after the ranks were listed have none: their keys are read. The ranks are
    listed, 4 bytes a row, once so many keys were read that it would have been cheaper.
    """

    def __init__(self) -> None:
        """Know no rank yet."""
        self._ranks = np.empty(0, dtype=np.uint32)
        self._generation = 0
        self._read = 0

    def first(self, store: ItemReader, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The places in ``rows`` of those ``count`` whose keys come first; ``int64``, ascending.

        Keys are compared as texts by code points, as their UTF-8 bytes and SQLite do. Call it while
        ``store`` holds a state.
        """
        if store.generation < self._generation:  # an older copy was put in its place
            self.__init__()  # type: ignore[misc]
        self._generation = store.generation
        places = self._candidates(rows, count)
        self._read += len(places) - count
        if self._read > 0 and self._read * _READING_COST > store.count():
            self._list(store)
            places = self._candidates(rows, count)
        if len(places) > count:
            keys = store.keys_of(rows[places])
            own = [keys.get(row, "") for row in rows[places].tolist()]
            places = places[sorted(range(len(own)), key=own.__getitem__)[:count]]
        return np.sort(places)

    def ranks(
        self, store: ItemReader, rows: NDArray[np.int64], spared: int
    ) -> NDArray[np.uint32] | None:
        """The ranks of ``rows``; None where one of them has none, and its key is to be read.

        Args:
            store: holds a state.
            rows: ``int64``.
            spared: how many keys need not be read once the ranks are known.
        """
        if store.generation < self._generation:
            self.__init__()  # type: ignore[misc]
        self._generation = store.generation
        if len(rows) and rows.max() < len(self._ranks):
            found = self._ranks[rows]
            return found if found.max() < _UNRANKED else None
        self._read += spared
        if self._read * _READING_COST > store.count():
            self._list(store)
        return None

    def _candidates(self, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The places of rows without a rank, and of the first of the others."""
        listed = rows < len(self._ranks)
        ranked, others = np.flatnonzero(listed), np.flatnonzero(~listed)
        if len(ranked) > count:
            ranks = self._ranks[rows[ranked]]
            ranked = ranked[np.argpartition(ranks, count - 1)[:count]]
        return np.concatenate([ranked, others])

    def _list(self, store: ItemReader) -> None:
        rows = store.rows_by_key()
        self._ranks = np.full(int(rows.max(initial=-1)) + 1, _UNRANKED, dtype=np.uint32)
        self._ranks[rows] = np.arange(len(rows), dtype=np.uint32)
        self._read = 0
