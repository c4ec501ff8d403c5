"""The one who writes to a shard: a Ray actor that keeps it open and commits what it is given."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hashret.cluster.blocks import given_of
from hashret.cluster.published import storage_at
from hashret.cluster.storage import ClusterStorage
from hashret.errors import HashretError, InputError
from hashret.index.differences import (
    Changes,
    Comparer,
    Given,
    Origin,
    known_under,
    refusal,
    write_beside,
    write_new,
)
from hashret.index.snapshot import publish_due
from hashret.store import ItemReader, ItemStore, WriterLock

NAMESPACE = "hashret"

PATIENCE_SECONDS = 20.0
"""A writer that died with its node may hold the lock for as long as it takes to be noticed."""


MOST_RESTARTS = 20
"""A writer that dies again and again, for lack of memory say, would otherwise do so for ever."""


class Compared(NamedTuple):
    """What a shard says of items that may be given to it.

    Attributes:
        new: places of those whose values are not stored: they have to be encoded.
        beside: places of those that changed in something else.
    """

    new: list[int]
    beside: list[int]


class Stored(NamedTuple):
    """What a delivery did."""

    added: int
    updated: int
    replaced: int


class ShardWriter:
    """Holds a shard open for writing; started by :func:`start_writers`.

    A batch is one transaction, on disk when the call returns, so it may be given again by someone
    who did not hear of it: then nothing changes.
    """

    def __init__(self, root: str, folder: str) -> None:
        """Name the shard; its lock is taken with the first request."""
        self._storage, self._folder = storage_at(root), folder
        self._open = ExitStack()
        # Where shards are changed in place, what was acknowledged lies on a disk that all share.
        self._may_have_lost = (
            type(self._storage) is not ClusterStorage and _is_another_incarnation()
        )

    def lost(self) -> bool:
        """Whether batches may be lost that an earlier one of this name acknowledged.

        Where each node changes a copy of its own, they go with the node. Told once: the source is
        to be given again, of which then only what is lost is encoded.
        """
        told, self._may_have_lost = self._may_have_lost, False
        return told

    @cached_property
    def _store(self) -> ItemStore:
        # When first needed, as what an actor raises while it is made is told without its message.
        self._path = self._storage.writing(self._folder)
        self._open.enter_context(WriterLock(self._path, PATIENCE_SECONDS))
        store = ItemStore.open(self._path / "items.db")
        self._open.callback(store.close)
        return store

    def compare(self, origin: Origin, root: str | None, given: pa.Table) -> Compared:
        """Compare items of one source with those of the shard, by key and content.

        Raises:
            InputError: the key of an item belongs to another source's.
        """
        with self._store.reading(checked=False):
            changes = _changes(self._store, origin, self._source_known(origin), given_of(given))
            self._refuse(changes, origin, root, given)
        return Compared(changes.places, changes.beside)

    def store(
        self,
        origin: Origin,
        given: pa.Table,
        vectors: NDArray[np.float32] | None,
        field_names: Iterable[str],
    ) -> Stored:
        """Write items of one source with their codes, in one transaction.

        Args:
            origin: the source.
            given: the items; those whose values are stored have no code.
            vectors: feature rows of those that have one, where the index keeps them.
            field_names: the names of all their fields.
        """
        codes = given["code"].to_pylist()
        items = given_of(given)
        with self._store.writing() as writer:
            source = writer.source_id(origin.location)
            changes = _changes(writer, origin, source, items)
            self._refuse(changes, origin, None, given)
            if any(codes[place] is None for place in changes.places):
                raise HashretError(
                    f"{self._path} was changed by someone else meanwhile. Index the same source "
                    "again."
                )
            new = [
                (item, codes[place])
                for item, place in zip(changes.new, changes.places, strict=True)
            ]
            before = changes.replaced
            replaced = [before[item.key] for item, _ in new if item.key in before]
            if vectors is not None:
                has_code = np.array([code is not None for code in codes])
                vectors = vectors[(np.cumsum(has_code) - 1)[changes.places]]
            written = write_new(writer, new, replaced, source, vectors)
            write_beside(writer, changes, source)
            writer.note_fields(field_names)
        return Stored(written - len(replaced), len(replaced) + len(changes.refield), len(replaced))

    def remove(self, keys: list[str]) -> int:
        """Remove items in one transaction; returns how many there were."""
        with self._store.writing() as writer:
            rows = [known.row for known in writer.by_keys(keys).values()]
            writer.delete_rows(sorted(rows))
        return len(rows)

    def held(self, keys: list[str]) -> list[str]:
        """Those of the keys that are here."""
        with self._store.reading(checked=False):
            known = self._store.by_keys(keys)
        return [key for key in keys if key in known]

    def field_names(self) -> list[str]:
        """The names of all fields that an item here was ever given."""
        with self._store.reading(checked=False):
            return self._store.field_names()

    def note_fields(self, names: Iterable[str]) -> None:
        """Remember names of fields that items may get, here or in another shard.

        Raises:
            InputError: a name differs from another one only in case.
        """
        new = set(names).difference(self.field_names())
        if new:
            with self._store.writing() as writer:
                writer.note_fields(sorted(new))

    def count(self) -> int:
        """How many items are here."""
        with self._store.reading(checked=False):
            return self._store.count()

    def finish(
        self, field_names: Iterable[str], columns_taken: Mapping[str, Mapping[str, str]]
    ) -> int:
        """Note what all shards know, make search tables that are due and show all to readers.

        Args:
            field_names: of all shards, so that a condition means the same on each.
            columns_taken: of tables, which columns were taken.

        Returns:
            The number of items.
        """
        with self._store.reading(checked=False):
            before = self._store.setting("columns_taken") or {}
        now = {**before, **{place: dict(taken) for place, taken in columns_taken.items()}}
        self.note_fields(field_names)
        if now != before:
            with self._store.writing() as writer:
                writer.change_settings({"columns_taken": now})
        publish_due(self._store, self._path, lambda *_: None)
        count = self.count()
        self._open.close()
        del self._store
        self._storage.publish(self._folder)
        return count

    def _source_known(self, origin: Origin) -> int | None:
        if origin.location is None:
            return None
        sources = self._store.sources()
        return next((n for n, location in sources.items() if location == origin.location), -1)

    def _refuse(self, changes: Changes, origin: Origin, root: str | None, given: pa.Table) -> None:
        if changes.refused is None:
            return
        place, old = changes.refused
        owner = None if old.source is None else self._store.sources().get(old.source)
        raise InputError(
            refusal(
                given["key"][place].as_py(),
                root,
                origin.location,
                owner,
                "What was stored before it stays.",
            )
        )


def _is_another_incarnation() -> bool:
    import ray

    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def _changes(store: ItemReader, origin: Origin, source: int | None, given: list[Given]) -> Changes:
    known = {} if store.count() == 0 else known_under(store, given)
    return Comparer(origin, source, store.sources() if known else {}).changes(given, known)


def start_writers(root: str, folders: Iterable[str]) -> list[Any]:
    """One writer for each shard, in order, each ready to be asked.

    Raises:
        IndexLockedError: someone else writes to one of the shards.
    """
    import ray

    from hashret.cluster.failures import asked

    actor = ray.remote(num_cpus=0, max_restarts=MOST_RESTARTS, max_task_retries=-1)(ShardWriter)
    writers: list[Any] = []
    try:
        writers.extend(_named(actor, root, folder) for folder in folders)
        asked([writer.count.remote() for writer in writers])
    except BaseException:
        stop_writers(writers)
        raise
    return writers


def _named(actor: Any, root: str, folder: str) -> Any:
    """The writer of a shard, under a name that one at a time can have in a Ray cluster."""
    from hashret.errors import IndexLockedError

    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return actor.options(name=f"writer of {folder} of {root}", namespace=NAMESPACE).remote(
                root, folder
            )
        except ValueError:  # the name is taken, perhaps by one whose driver died just now
            if time.monotonic() >= give_up:
                raise IndexLockedError(
                    f"{root} is being written by another run on this Ray cluster; try again when "
                    "it has finished."
                ) from None
            time.sleep(0.2)


def stop_writers(writers: Iterable[Any]) -> None:
    """End writers; what they have committed stays."""
    import ray

    for writer in writers:
        ray.kill(writer, no_restart=True)
