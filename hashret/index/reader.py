"""Reading an index: every answer comes from one committed state, the newest there is."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import DamagedIndexError, KeyNotFoundError, UsageError
from hashret.index.key_order import KeyOrder
from hashret.index.ordering import (
    IN_ROW_ORDER,
    Refinement,
    cut_whole_rings,
    flip_costs,
    search_whole_rings,
    vector_distances,
)
from hashret.index.result import Hit, Result
from hashret.index.snapshot import Snapshot, take_snapshot, without_remedy
from hashret.search import CodeIndex, Found, search_many
from hashret.store import RESTORE, ItemReader, ItemStore, StoredItem
from hashret.store.where import may_tell_time

_T = TypeVar("_T")
_log = logging.getLogger("hashret")

RINGS_AT_A_TIME = 32
"""Queries whose last rings are held whole at the same time."""

VALUES_AT_A_TIME = 1 << 23
"""Of kept vectors, so many values are held at the same time: a shortlist may be all items."""

SCANNED_CODES = 10_000
"""Reading an item takes as long as looking through so many codes for the few that are allowed."""


REMEMBERED_CONDITIONS = 16
"""Each holds a bit for every row, or the few rows that satisfy it."""


class _Filter(NamedTuple):
    """The items that may be hits: few rows, or a bitmap (None: all), as ``Snapshot.allowed``."""

    few: NDArray[np.int64] | None
    allowed: NDArray[np.uint8] | None


class Question(NamedTuple):
    """What one state is asked: as in :meth:`Reader.search`; by certainty where there are logits."""

    codes: Codes
    radius: int | None
    limit: int | None
    logits: NDArray[np.float32] | None
    by_key: bool


def stored(store: ItemReader, key: str, *, as_path: bool) -> StoredItem:
    """The item with this key, which may also be a path as seen from the working folder.

    Raises:
        UsageError: the key is no text.
        KeyNotFoundError: no item has it.
    """
    item = _find(store, key, as_path=as_path)
    if item is None:
        raise KeyNotFoundError(
            f"No item of {store.path.parent} has the key {key!r}; `hashret items` lists the keys.",
            key,
        )
    return item


def _find(store: ItemReader, key: str, *, as_path: bool) -> StoredItem | None:
    if not isinstance(key, str):
        raise UsageError(f"A key is text, got {key!r} of type {type(key).__name__}.")
    try:
        key.encode()
    except UnicodeEncodeError:
        return None  # keys are valid Unicode, so no item has this one
    return store.item(key) or (store.item(str(Path(key).absolute())) if as_path else None)


class Reader:
    """Answers from the store of an index and from the segments it names.

    Threads may share a reader; they take turns, for one connection holds one state at a time.

    Attributes:
        finds_paths: whether a key may also be given as a path from the working folder. That is for
            who chose the folder: a server's is nothing to those who ask it.
    """

    def __init__(self, store: ItemStore, folder: Path) -> None:
        """Read from an open ``store`` and the segments in its ``folder``."""
        self.store = store
        self.finds_paths = True
        self.lock = threading.RLock()
        self._folder = folder
        self._snapshot: Snapshot | None = None
        self._filters: OrderedDict[str | None, _Filter] = OrderedDict()
        self.key_order = KeyOrder()

    @contextmanager
    def state(self, *, checked: bool = True) -> Iterator[None]:
        """Hold the newest committed state of the store; see :meth:`ItemStore.reading`."""
        with self.lock, self.store.reading(checked=checked):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Hold the newest committed state, with its segments and tail loaded."""
        with self.state():
            known = self._snapshot
            if known is None or known.commit != self.store.commit or not known.is_untouched():
                known = self._snapshot = take_snapshot(self.store, self._folder)
                self._filters.clear()
            yield known

    def item(self, key: str) -> StoredItem:
        """The item with this key, which may also be its path where ``finds_paths`` says so.

        Raises:
            UsageError: the key is no text.
            KeyNotFoundError: no item has it.
        """
        return stored(self.store, key, as_path=self.finds_paths)

    def find(self, key: str) -> StoredItem | None:
        """The item as :meth:`item` finds it, or None."""
        return _find(self.store, key, as_path=self.finds_paths)

    def vectors(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """The kept feature rows of items, ``float32``, ``(len(rows), d)``, in this order.

        Raises:
            UsageError: the index keeps no vectors.
        """
        self.check_keeps_vectors()
        return self.store.vectors_of(rows)

    def check_keeps_vectors(self) -> None:
        """Refuse to re-rank where there is nothing to re-rank by.

        Raises:
            UsageError: the index keeps no vectors.
        """
        if self.store.vector_length is None:
            raise UsageError(
                f"{self._folder} keeps no vectors, only codes. Make an index that does with "
                "`hashret index SOURCE -i NAME --keep-vectors` or hashret.create(path, source, "
                "keep_vectors=True)."
            )

    def search(
        self,
        codes: Codes,
        radius: int | None,
        limit: int | None,
        where: str | None,
        refinement: Refinement = IN_ROW_ORDER,
    ) -> list[Result]:
        """A result for each of the codes, ``uint8``, shape ``(n, n_bits / 8)``."""
        wanted = limit
        if refinement.vectors is not None:
            self.check_keeps_vectors()
            wanted = refinement.shortlist
            limit = wanted if limit is None else limit  # no more are in the answer
        question = Question(codes, radius, wanted, refinement.logits, refinement.by_key)
        with self.snapshot() as snapshot:
            answers = self.answers(snapshot, where, codes, partial(self._found, question))
            if refinement.vectors is not None:
                answers = [
                    (found, self._reranked(found.rows, hits, vector)[:limit])
                    for (found, hits), vector in zip(answers, refinement.vectors, strict=True)
                ]
        reranked = refinement.vectors is not None
        return [
            Result(code, hits, found.stats, radius=radius, limit=limit, reranked=reranked)
            for code, (found, hits) in zip(codes, answers, strict=True)
        ]

    def _filter(self, snapshot: Snapshot, where: str | None) -> _Filter:
        """Which items of a state may be hits; remembered, for as long as it is the newest."""
        chosen = self._filters.get(where) if isinstance(where, str | None) else None
        if chosen is None:
            rows = None if where is None else self.store.rows_where(where)
            if rows is not None and len(rows) * SCANNED_CODES <= len(snapshot):
                chosen = _Filter(rows, None)
            else:
                chosen = _Filter(None, snapshot.allowed(rows))
            if where is not None and may_tell_time(where):
                return chosen
            self._filters[where] = chosen
            if len(self._filters) > REMEMBERED_CONDITIONS:
                self._filters.popitem(last=False)
        self._filters.move_to_end(where)
        return chosen

    def answers(
        self,
        snapshot: Snapshot,
        where: str | None,
        queries: Codes,
        find: Callable[[list[CodeIndex], NDArray[np.uint8] | None], _T],
    ) -> _T:
        """What ``find`` makes of the parts to search, and of the bitmap of rows to find there."""
        chosen = self._filter(snapshot, where)
        if chosen.few is not None:
            codes = self._codes(chosen.few, queries.shape[1])
            return find([CodeIndex.build(codes, rows=chosen.few)], None)
        try:
            return find(snapshot.parts, chosen.allowed)
        except DamagedIndexError as error:
            if not snapshot.has_segments:
                raise
            _log.warning(
                "%s items.db answers in the place of the search files, which takes longer; "
                "`hashret compact` rebuilds them.",
                without_remedy(str(error)),
            )
            snapshot = take_snapshot(self.store, self._folder, use_segments=False)
            self._snapshot = snapshot
            return find(snapshot.parts, chosen.allowed)

    def _found(
        self, question: Question, parts: list[CodeIndex], allowed: NDArray[np.uint8] | None
    ) -> list[tuple[Found, list[Hit]]]:
        """What is found of the items that may be hits, and the hits it stands for."""
        codes, radius, limit, logits, by_key = question
        if logits is None and not by_key:
            found = search_many(parts, codes, radius, limit, allowed)
            return [
                (one, self._hits(code, one, self.store.items_of(one.rows)))
                for one, code in zip(found, codes, strict=True)
            ]
        answers = []
        for code, (cut, costs) in zip(codes, self.cut(question, parts, allowed), strict=True):
            items = self.store.items_of(cut.rows)
            one = _in_key_order(cut, costs, items) if by_key else cut
            answers.append((one, self._hits(code, one, items)))
        return answers

    def cut(
        self,
        question: Question,
        parts: list[CodeIndex],
        allowed: NDArray[np.uint8] | None,
        spare: int = 0,
    ) -> Iterator[tuple[Found, NDArray[np.float64] | None]]:
        """Hits by distance and cost, of which key or row decides who of the last ring is in.

        Up to ``spare`` more than the limit stay as they were found, without costs.
        """
        codes, radius, limit, logits, by_key = question
        first_by_key = partial(self.key_order.first, self.store) if by_key else None
        # Whole rings may be large: few at a time are held.
        for start in range(0, len(codes), RINGS_AT_A_TIME):
            some = codes[start : start + RINGS_AT_A_TIME]
            for q, one in enumerate(search_whole_rings(parts, some, radius, limit, allowed)):
                if spare and limit is not None and len(one) <= limit + spare:
                    yield one, None
                    continue
                costs = None
                if logits is not None:
                    own = self._codes(one.rows, codes.shape[1])
                    costs = flip_costs(some[q], own, logits[start + q])
                yield cut_whole_rings(one, costs, limit, first_by_key)

    def _reranked(
        self, rows: NDArray[np.int64], hits: list[Hit], query: NDArray[np.float32]
    ) -> list[Hit]:
        """Hits, of these rows, by the distance of their kept vectors, then as they were."""
        distances = self.vector_distances_of(rows, query)
        order = np.argsort(distances, kind="stable").tolist()
        return [
            replace(hits[place], rank=rank, vector_distance=float(distances[place]))
            for rank, place in enumerate(order, start=1)
        ]

    def vector_distances_of(
        self, rows: NDArray[np.int64], query: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Distances of the kept vectors of items to a query, few of them in memory at a time."""
        blocks = np.array_split(rows, max(1, -(-len(rows) * query.size // VALUES_AT_A_TIME)))
        return np.concatenate([vector_distances(query, self.vectors(block)) for block in blocks])

    def _codes(self, rows: NDArray[np.int64], n_bytes: int) -> Codes:
        """The codes of items, shape ``(n, n_bytes)``, from the store."""
        known = self.store.codes_of(rows)
        codes = [known.get(row, b"") for row in rows.tolist()]
        if any(len(code) != n_bytes for code in codes):
            raise DamagedIndexError(
                f"{self.store.path} is damaged: `hashret verify` names the items. {RESTORE}"
            )
        return np.frombuffer(b"".join(codes), dtype=np.uint8).reshape(-1, n_bytes)

    def _hits(self, code: Codes, found: Found, items: Mapping[int, StoredItem]) -> list[Hit]:
        asked = int.from_bytes(code.tobytes())
        hits = []
        for rank, (row, distance) in enumerate(
            zip(found.rows.tolist(), found.distances.tolist(), strict=True), start=1
        ):
            item = items.get(row)
            # What a segment says of a hit is checked against the truth before anyone sees it.
            if item is None or _distance(asked, code.size, item.code) != distance:
                raise DamagedIndexError(
                    f"{self._folder / 'segments'} does not agree with items.db about row {row}."
                )
            similarity = 1 - distance / (code.size * 8)
            hits.append(
                Hit(rank, item.key, distance, similarity, item.code, item.fields, item.location)
            )
        return hits


def _in_key_order(
    found: Found, costs: NDArray[np.float64] | None, items: Mapping[int, StoredItem]
) -> Found:
    """The same hits; those of one distance and cost by key."""
    keys = [items[row].key if row in items else "" for row in found.rows.tolist()]
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    order = np.lexsort((ranks, *(() if costs is None else (costs,)), found.distances))
    return Found(found.rows[order], found.distances[order], found.stats)


def _distance(asked: int, n_bytes: int, code: Codes) -> int:
    """Hamming distance of a code to another of ``n_bytes``, as a number; -1 to one of other size.

    A sixth of the time that ``hamming`` takes for two codes.
    """
    return (asked ^ int.from_bytes(code.tobytes())).bit_count() if code.size == n_bytes else -1
