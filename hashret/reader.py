"""Reading an index: every answer comes from one committed state, the newest there is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, hamming
from hashret.errors import DamagedIndexError, KeyNotFoundError, UsageError
from hashret.result import Hit, Result
from hashret.search import Found, search_many
from hashret.snapshot import Snapshot, take_snapshot
from hashret.store import ItemStore, StoredItem

_log = logging.getLogger("hashret")


class Reader:
    """Answers from the store of an index and from the segments it names.

    Threads may share a reader; they take turns, for one connection holds one state at a time.
    """

    def __init__(self, store: ItemStore, folder: Path) -> None:
        """Read from an open ``store`` and the segments in its ``folder``."""
        self.store = store
        self.lock = threading.RLock()
        self._folder = folder
        self._snapshot: Snapshot | None = None

    @contextmanager
    def state(self) -> Iterator[None]:
        """Hold the newest committed state of the store."""
        with self.lock, self.store.reading():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Hold the newest committed state, with its segments and tail loaded."""
        with self.state():
            if self.store.writing_now:
                # Seen from inside an add: what is not committed must not be remembered.
                yield take_snapshot(self.store, self._folder)
                return
            if self._snapshot is None or self._snapshot.generation != self.store.generation:
                self._snapshot = take_snapshot(self.store, self._folder)
            yield self._snapshot

    def item(self, key: str) -> StoredItem:
        """The item with this key, which may also be its path as seen from the working folder.

        Raises:
            UsageError: the key is no text.
            KeyNotFoundError: no item has it.
        """
        item = self.find(key)
        if item is None:
            raise KeyNotFoundError(
                f"No item of {self._folder} has the key {key!r}; `hashret items` lists the keys."
            )
        return item

    def find(self, key: str) -> StoredItem | None:
        """The item as :meth:`item` finds it, or None."""
        if not isinstance(key, str):
            raise UsageError(f"A key is text, got {key!r} of type {type(key).__name__}.")
        try:
            key.encode()
        except UnicodeEncodeError:
            return None  # keys are valid Unicode, so no item has this one
        return self.store.item(key) or self.store.item(str(Path(key).absolute()))

    def search(
        self, codes: Codes, radius: int | None, limit: int | None, where: str | None
    ) -> list[Result]:
        """A result for each of the codes, ``uint8``, shape ``(n, n_bits / 8)``."""
        with self.snapshot() as snapshot:
            allowed = None if where is None else self.store.rows_where(where)
            try:
                return self._answers(snapshot, codes, radius, limit, allowed)
            except DamagedIndexError as error:
                if not snapshot.has_segments:
                    raise
                _log.warning("%s items.db answers in its place.", error)
                snapshot = take_snapshot(self.store, self._folder, use_segments=False)
                if not self.store.writing_now:
                    self._snapshot = snapshot
                return self._answers(snapshot, codes, radius, limit, allowed)

    def _answers(
        self,
        snapshot: Snapshot,
        codes: Codes,
        radius: int | None,
        limit: int | None,
        allowed: NDArray[np.int64] | None,
    ) -> list[Result]:
        found = search_many(snapshot.parts, codes, radius, limit, snapshot.allowed(allowed))
        return [
            Result(code, self._hits(code, one), one.stats, radius=radius, limit=limit)
            for code, one in zip(codes, found, strict=True)
        ]

    def _hits(self, code: Codes, found: Found) -> list[Hit]:
        items = self.store.items_of(found.rows)
        hits = []
        for rank, (row, distance) in enumerate(
            zip(found.rows.tolist(), found.distances.tolist(), strict=True), start=1
        ):
            item = items.get(row)
            # What a segment says of a hit is checked against the truth before anyone sees it.
            if item is None or hamming(code, item.code) != distance:
                raise DamagedIndexError(
                    f"{self._folder / 'segments'} does not agree with items.db about row {row}; "
                    "`hashret compact` rebuilds it."
                )
            similarity = 1 - distance / (code.size * 8)
            hits.append(
                Hit(rank, item.key, distance, similarity, item.code, item.fields, item.location)
            )
        return hits
