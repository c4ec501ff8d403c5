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
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.column_reader import ColumnReader
from hashret.columns import Bounds, HitColumns, Nearest
from hashret.errors import IndexChangedError, UsageError
from hashret.ordering import (
    Refinement,
    check_no_rerank,
    check_order,
    check_order_without_logits,
    refined,
)
from hashret.place import check_is_index, index_folder
from hashret.report import facts
from hashret.result import Result
from hashret.store import ItemStore, StoredItem
from hashret.trained import TrainedEncoder

DEFAULT_LIMIT = 10
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


class QueryableIndex:
    """Items in a folder, found by their binary codes: the part of an index that changes nothing.

    :class:`hashret.Index` is made of it, and describes it.
    """

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

    def query(
        self,
        value: Any,
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        *,
        order: str = "row",
        rerank: bool = False,
        shortlist: int | None = None,
    ) -> Result:
        """The items nearest to a value.

        Args:
            value: a path to an image or ``.npy`` file (``file.npy#17`` is row 17 of it), an array,
                or a PIL image; of an index of texts, the words to look for, never a path.
            radius: how many bits a hit may differ in; None lets the rings grow until ``limit``
                hits are in.
            limit: the most hits; None for all within ``radius``.
            where: an SQL condition on ``key`` and the fields, such as ``label = 9``.
            order: of hits at one distance. ``"row"``: as they were added. ``"key"``: by their keys,
                as texts by code points, which is the same however the items were added and spread
                over shards. ``"certainty"``: by the
                sum of ``|logit|`` over the bits in which they differ from the value, so that bits
                of which the encoder was less certain count less, then by row. A limit that cuts
                a ring takes a second search, for all of that ring, unless the order is by row.
            rerank: order the ``shortlist`` nearest by the exact Euclidean distance of the value's
                features to the kept vectors, and answer with the first ``limit`` of them.
            shortlist: None for 100, or 10 times the limit if that is more; without a limit, all
                within ``radius``.

        Returns:
            Hits by ascending distance, then in the ``order`` asked for; exact. Re-ranked, by
            ascending ``vector_distance``; exact within the shortlist.

        Raises:
            InputError: the value cannot be read or has another shape than the index.
            UsageError: neither radius nor limit, or an impossible one; a condition that is
                not valid; ``rerank`` where the index keeps no vectors.
        """
        return self.query_many(
            [value], radius, limit, where, order=order, rerank=rerank, shortlist=shortlist
        )[0]

    @_asked_again
    def query_key(
        self,
        key: str,
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        *,
        order: str = "row",
        rerank: bool = False,
        shortlist: int | None = None,
    ) -> Result:
        """The items nearest to the item with this key, itself among them; see :meth:`query`.

        Raises:
            KeyNotFoundError: no item has the key.
            UsageError: ``order="certainty"``: only a value has logits, a stored code has none.
        """
        check_order_without_logits(order, "a key")
        with self._reader.state():
            item = self._reader.item(key)
            vectors = self._reader.vectors([item.row]) if rerank else None
            refinement = refined(None, vectors, limit, shortlist, by_key=order == "key")
            return self._reader.search(item.code[None], radius, limit, where, refinement)[0]

    @_asked_again
    def query_code(
        self,
        code: ArrayLike | str,
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        *,
        order: str = "row",
        rerank: bool = False,
        shortlist: int | None = None,
    ) -> Result:
        """The items nearest to a code; see :meth:`query`.

        Args:
            code: ``uint8``, shape ``(n_bits / 8,)``, or hexadecimal text, which may name the
                encoder that made it: ``fingerprint:code``.
            radius: as in :meth:`query`.
            limit: as in :meth:`query`.
            where: as in :meth:`query`.
            order: ``"row"`` or ``"key"``; a code has no logits to order by.
            rerank: False; a code has no features to compare.
            shortlist: None, for the same reason.

        Raises:
            EncoderMismatchError: the code has another length, or names another encoder.
            UsageError: another ``order``, or ``rerank``.
        """
        check_order_without_logits(order, "a code")
        check_no_rerank(rerank, shortlist)
        refinement = Refinement(by_key=order == "key")
        own = self.encoder.own_code(code)
        return self._reader.search(own, radius, limit, where, refinement)[0]

    @_asked_again
    def query_many(
        self,
        values: Iterable[Any],
        radius: int | None = None,
        limit: int | None = DEFAULT_LIMIT,
        where: str | None = None,
        *,
        order: str = "row",
        rerank: bool = False,
        shortlist: int | None = None,
    ) -> list[Result]:
        """One result for each value, encoded and searched together; see :meth:`query`."""
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise UsageError(f"query_many takes several values, got {values!r}.")
        check_order(order)
        encoder = self.encoder.runtime  # first: that it is another one's says more than its files
        rows = self.encoder.rows(list(values))
        refinement = refined(
            encoder.logits(rows) if order == "certainty" else None,
            rows if rerank else None,
            limit,
            shortlist,
            by_key=order == "key",
        )
        return self._reader.search(encoder.encode(rows), radius, limit, where, refinement)

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
        """The hits of each code in columns; see :class:`hashret.column_reader.ColumnReader`."""
        return self._reader.search_columns(codes, radius, limit, where, refinement, bounds, known)

    @_asked_again
    def nearest(self, codes: Codes, radius: int | None, limit: int, where: str | None) -> Nearest:
        """The nearest items of each code by distance and row, of which none is read."""
        return self._reader.nearest(codes, radius, limit, where)

    def encode(self, values: Iterable[Any]) -> Codes:
        """Codes of values, ``uint8``, shape ``(n, n_bits / 8)``; nothing is stored."""
        return self.encoder.encode(list(values))

    def reconstruct(self, codes: ArrayLike) -> NDArray[np.float32]:
        """What the decoder makes of codes: see :meth:`TrainedEncoder.reconstruct`."""
        return self.encoder.reconstruct(codes)
