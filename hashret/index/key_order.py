"""Which of many items come first by key, without reading all of their keys."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread, current_thread

import numpy as np
from numpy.typing import NDArray

from hashret.errors import HashretError
from hashret.store import ItemReader, ItemStore

_READING_COST = 10
"""Reading a key by its row takes as long as listing so many rows in the order of their keys."""

_UNRANKED = np.iinfo(np.uint32).max

_Ranks = NDArray[np.uint32]


class KeyOrder:
    """The ranks of an index's rows by key: a row has one key for ever, so a rank stays true.

    Rows that were added after the ranks were listed have none: their keys are read. The ranks are
    listed, 4 bytes a row, once so many keys were read that it would have been cheaper; beside the
    queries, for of many items it takes seconds.
    """

    def __init__(self) -> None:
        """Know no rank yet."""
        self._generation = 0
        self._forget()

    def _forget(self) -> None:
        self._ranks: _Ranks = np.empty(0, dtype=np.uint32)
        self._read = 0
        self._listing: Thread | None = None

    @property
    def is_listed(self) -> bool:
        """Whether the ranks of most rows are known."""
        return len(self._ranks) > 0

    def first(self, store: ItemReader, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The places in ``rows`` of those ``count`` whose keys come first; ``int64``, ascending.

        Keys are compared as texts by code points, as their UTF-8 bytes and SQLite do. Call it while
        ``store`` holds a state.
        """
        self._look_at(store)
        places = self._candidates(rows, count)
        if len(places) > count:
            self._note(store, len(places) - count)
            keys = store.keys_of(rows[places])
            own = [keys.get(row, "") for row in rows[places].tolist()]
            places = places[sorted(range(len(own)), key=own.__getitem__)[:count]]
        return np.sort(places)

    def ranks(self, store: ItemReader, rows: NDArray[np.int64], spared: int) -> _Ranks | None:
        """The ranks of ``rows``; None where one of them has none, and its key is to be read.

        Args:
            store: holds a state.
            rows: ``int64``.
            spared: how many keys need not be read once the ranks are known.
        """
        self._look_at(store)
        known = self._ranks
        if len(rows) and rows.max() < len(known):
            found = known[rows]
            return found if found.max() < _UNRANKED else None
        self._note(store, spared)
        return None

    def _look_at(self, store: ItemReader) -> None:
        generation = store.generation
        if generation < self._generation:  # an older copy was put in its place
            self._forget()
        self._generation = generation

    def _candidates(self, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The places of rows without a rank, and of the first of the others."""
        known = self._ranks
        listed = rows < len(known)
        ranked, others = np.flatnonzero(listed), np.flatnonzero(~listed)
        if len(ranked) > count:
            ranks = known[rows[ranked]]
            ranked = ranked[np.argpartition(ranks, count - 1)[:count]]
        return np.concatenate([ranked, others])

    def _note(self, store: ItemReader, spared: int) -> None:
        self._read += spared
        if self._listing is None and self._read * _READING_COST > store.count():
            self._listing = Thread(target=self._list, args=(store.path,), daemon=True)
            self._listing.start()

    def _list(self, path: Path) -> None:
        ranks = None
        # Who asks for items is told what is wrong.
        with (
            suppress(HashretError, sqlite3.Error),
            closing(ItemStore.open(path)) as store,
            store.reading(checked=False),
        ):
            ranks = ranks_by_key(store)
        if self._listing is current_thread():  # else they are of a copy that is there no more
            self._ranks = self._ranks if ranks is None else ranks
            self._read = 0
            self._listing = None


def ranks_by_key(store: ItemReader) -> _Ranks:
    """The rank of each row by key; those of rows that do not exist are the highest number."""
    rows = store.rows_by_key()
    ranks = np.full(int(rows.max(initial=-1)) + 1, _UNRANKED, dtype=np.uint32)
    ranks[rows] = np.arange(len(rows), dtype=np.uint32)
    return ranks
