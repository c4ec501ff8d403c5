"""An index as it is read: opened, looked into, asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import IndexChangedError, UsageError
from hashret.index.column_reader import ColumnReader
from hashret.index.folder import check_is_index, index_folder
from hashret.index.hit_columns import Bounds, HitColumns, Nearest
from hashret.index.info import facts
from hashret.index.ordering import ORDERS, Refinement
from hashret.index.queries import Queries
from hashret.index.result import Result
from hashret.index.trained_encoder import TrainedEncoder
from hashret.store import ItemStore, StoredItem

ITEMS_AT_A_TIME = 4096
_PAUSES = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)  # seconds

P = ParamSpec("P")
T = TypeVar("T")


def _asked_again(ask: Callable[P, T]) -> Callable[P, T]:
    """Ask once more, and again, where the index changed under a reader who may not lock it."""

    @wraps(ask)
    def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        for pause in _PAUSES:
            try:
                return ask(*args, **kwargs)
            except IndexChangedError:
                time.sleep(pause)
        return ask(*args, **kwargs)

    return asked


class QueryableIndex(Queries):
    """Items in a folder, found by their binary codes: the part of an index that changes nothing.

    :class:`hashret.Index` is made of it, and describes it.
    """

    orders = ORDERS

    def __init__(self, path: Path, store: ItemStore) -> None:
        """Wrap an open store; use :meth:`create` or :meth:`open`."""
        self.path = path
        self._store = store
        self.encoder = TrainedEncoder.of_index(path, store)
        self.kind = self.encoder.kind
        self.n_bits = self.encoder.n_bits
        self._reader = ColumnReader(store, path)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the index in the folder ``path``.

        Raises:
            IndexNotFoundError: there is no index.
            DamagedIndexError: its database is damaged or of a newer format.
        """
        folder = index_folder(path)
        check_is_index(folder)
        store = ItemStore.open(folder / "items.db")
        try:
            return cls(folder, store)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Close the database, once nobody reads; the index cannot be used afterwards."""
        with self._reader.lock:
            self._store.close()

    def __enter__(self) -> Self:
        """Use the index in a ``with`` block that closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the index."""
        self.close()

    # What it holds

    @property
    def fingerprint(self) -> str:
        """Names the encoder: codes of two encoders cannot be compared."""
        return self.encoder.fingerprint

    @property
    def reader(self) -> ColumnReader:
        """Its committed states, for what looks at all of the index, as evaluation does."""
        return self._reader

    @property
    @_asked_again
    def commit(self) -> str:
        """The name of its newest state, which no other state of this or another index has."""
        with self._reader.state():
            return self._store.commit

    def shards_with(self, keys: Iterable[str] | None = None) -> list[tuple[Self, list[str]]]:
        """This index and the keys: it is the only shard of itself, see ``ClusterIndex``."""
        return [(self, list(keys or ()))]

    @_asked_again
    def __len__(self) -> int:
        """How many items there are."""
        with self._reader.state():
            return self._store.count()

    @_asked_again
    def __contains__(self, key: object) -> bool:
        """Whether an item has this key."""
        with self._reader.state():
            return isinstance(key, str) and self._reader.find(key) is not None

    def __iter__(self) -> Iterator[str]:
        """The keys, in the order of being added.

        They are read as they are asked for, from one committed state: the index may be read and
        changed meanwhile.
        """
        with self._reader.state():
            pass  # raises where the index was closed
        return self._keys()

    def _keys(self) -> Iterator[str]:
        with closing(ItemStore.open(self.path / "items.db")) as store, store.reading():
            for block in store.item_blocks(ITEMS_AT_A_TIME):
                yield from [item.key for item in block]

    def __repr__(self) -> str:
        """Place, size and code length."""
        return f"<Index {self.path}: {len(self):,} {self.kind}, {self.n_bits} bits>"

    @_asked_again
    def __getitem__(self, key: str) -> StoredItem:
        """The item with this key.

        Raises:
            KeyNotFoundError: no item has it.
        """
        with self._reader.state():
            return self._reader.item(key)

    @_asked_again
    def items(self, limit: int | None = None, where: str | None = None) -> list[StoredItem]:
        """Items in the order they were added, at most ``limit``, those that satisfy ``where``."""
        with self._reader.state():
            return self._store.items_in_order(limit, where)

    @property
    @_asked_again
    def field_names(self) -> list[str]:
        """The names of all fields that an item was ever given, in alphabetical order."""
        with self._reader.state():
            return self._store.field_names()

    @property
    @_asked_again
    def knows_sources(self) -> bool:
        """Whether it is known of some items where their values can be read again."""
        with self._reader.state():
            return bool(self._store.sources())

    @property
    @_asked_again
    def keeps_vectors(self) -> bool:
        """Whether the features of its items are kept, for :meth:`vectors` and re-ranking."""
        with self._reader.state():
            return self._store.vector_length is not None

    @_asked_again
    def vectors(self, keys: Iterable[str]) -> NDArray[np.float32]:
        """The kept features of items, ``float32``, shape ``(n, d)``, in the order of ``keys``.

        They were rounded to float16 (11 significant bits) after scaling by a power of two.

        Raises:
            UsageError: the index keeps no vectors.
            KeyNotFoundError: no item has one of the keys.
        """
        if isinstance(keys, str) or not isinstance(keys, Iterable):
            raise UsageError(f"vectors takes several keys, got {keys!r}.")
        with self._reader.state():
            return self._reader.vectors([self._reader.item(key).row for key in keys])

    @_asked_again
    def info(self) -> dict[str, Any]:
        """What the index is and holds, as JSON values; sizes in bytes."""
        return facts(self._reader, self.encoder, self.path)

    # Queries

    @_asked_again
    def _search(
        self,
        codes: Codes,
        radius: int | None,
        limit: int | None,
        where: str | None,
        refinement: Refinement,
        *,
        partial: bool,  # noqa: ARG002, of a cluster
    ) -> list[Result]:
        return self._reader.search(codes, radius, limit, where, refinement)

    @_asked_again
    def _search_item(
        self,
        key: str,
        radius: int | None,
        limit: int | None,
        where: str | None,
        refine: Callable[[NDArray[np.float32] | None], Refinement],
        *,
        with_vector: bool,
        partial: bool,  # noqa: ARG002, of a cluster
    ) -> Result:
        with self._reader.state():
            item = self._reader.item(key)
            refinement = refine(self._reader.vectors([item.row]) if with_vector else None)
            return self._reader.search(item.code[None], radius, limit, where, refinement)[0]

    @_asked_again
    def search_columns(
        self,
        codes: Codes,
        radius: int | None,
        limit: int | None,
        where: str | None,
        refinement: Refinement,
        bounds: Bounds | None = None,
        known: Nearest | None = None,
    ) -> HitColumns:
        """The hits of each code in columns; see :mod:`hashret.index.column_reader`."""
        return self._reader.search_columns(codes, radius, limit, where, refinement, bounds, known)

    @_asked_again
    def nearest(self, codes: Codes, radius: int | None, limit: int, where: str | None) -> Nearest:
        """The nearest items of each code by distance and row, of which none is read."""
        return self._reader.nearest(codes, radius, limit, where)
