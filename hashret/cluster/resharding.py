"""Spread the items of a cluster over another number of shards."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from hashret.cluster.cluster_layout import MOST_SHARDS, Layout
from hashret.cluster.making import make_shard
from hashret.cluster.storage import ClusterStorage
from hashret.errors import HashretError, IndexChangedError, IndexExistsError, UsageError
from hashret.index.snapshot import publish_due
from hashret.progress import Progress, ProgressCallback, no_progress
from hashret.store import ItemStore, ItemWriter, NewItem, WriterLock
from hashret.store.item_reader import MovedItem

BLOCK_ITEMS = 50_000
"""So many items of a shard are read, and brought to the new ones, at a time."""


def reshard(
    storage: ClusterStorage, shards: int, progress: ProgressCallback = no_progress
) -> Layout:
    """Spread the items of a cluster over another number of shards, without encoding any again.

    The new shards are made beside the old ones, which answer until ``cluster.json`` names the new
    ones; then the old ones are removed. Interrupted at any moment, either these or those are
    there, whole; the next call removes what is left of the others.

    Args:
        storage: of the cluster.
        shards: how many there shall be.
        progress: told of the items.

    Raises:
        IndexLockedError: someone is writing to a shard.
        IndexChangedError: another run has changed the cluster meanwhile; its shards stay.
        UsageError: an impossible number.
    """
    if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= MOST_SHARDS:
        raise UsageError(f"shards must be a number from 1 to {MOST_SHARDS:,}, not {shards!r}.")
    layout = storage.layout(certain=True)
    with ExitStack() as locks:
        olds = [storage.writing(folder) for folder in layout.folders()]
        try:
            for old in olds:
                locks.enter_context(WriterLock(old))
        except HashretError:
            _check_layout(storage, layout)
            raise
        _remove_others(storage, layout)
        if shards == layout.shards:
            return layout
        after = layout.resharded(shards)
        try:
            _make(storage, after)
            _move(storage, olds, after, progress)
            _replace_layout(storage, layout, after)
        except IndexChangedError:
            _undo(storage, layout, after)
            raise
        _remove_others(storage, after)  # before someone who waits for the locks gets them
    return after


def _make(storage: ClusterStorage, after: Layout) -> None:
    try:
        for folder in after.folders():
            make_shard(storage, folder)
    except IndexExistsError as error:
        raise IndexChangedError(
            f"{storage.root} is being resharded by another run, too. Its shards stay as they are; "
            "reshard again when that run has ended."
        ) from error


def _replace_layout(storage: ClusterStorage, layout: Layout, after: Layout) -> None:
    """Name the new shards, if nobody has changed anything since the old ones were read.

    Behind a URL, no lock holds from one machine to another. Who publishes a shard looks at what is
    there just before; we do so just before and just after.
    """
    folders = [*layout.folders(), *after.folders()]
    _check_layout(storage, layout)
    _check_published(storage, folders)
    storage.write_layout(after)
    try:
        _check_published(storage, folders)
    except IndexChangedError:
        _check_layout(storage, after)
        storage.write_layout(layout)
        raise


def _undo(storage: ClusterStorage, layout: Layout, after: Layout) -> None:
    """Remove the new shards, unless others made them, or they are in use."""
    if storage.layout(certain=True) == layout and all(map(storage.is_newest, after.folders())):
        storage.remove(f"shards-{after.generation}")


def _check_published(storage: ClusterStorage, folders: Iterable[str]) -> None:
    for folder in folders:
        if not storage.is_newest(folder):
            raise IndexChangedError(
                f"{storage.root}/{folder} was changed by another run while the cluster was being "
                "resharded. Its shards stay as they are; reshard again when that run has ended."
            )


def _check_layout(storage: ClusterStorage, layout: Layout) -> None:
    now = storage.layout(certain=True)
    if now != layout:
        raise IndexChangedError(
            f"{storage.root} has {now.shards} shards of generation {now.generation}, and had "
            f"{layout.shards} of generation {layout.generation}: another run changed it "
            "meanwhile. They stay as they are; reshard again if that is not what you want."
        )


def _remove_others(storage: ClusterStorage, layout: Layout) -> None:
    """Remove the generations of shards next to the one that ``cluster.json`` names."""
    for generation in (layout.generation - 1, layout.generation + 1):
        _check_layout(storage, layout)
        storage.remove(f"shards-{generation}")


def _move(
    storage: ClusterStorage, olds: list[Path], after: Layout, progress: ProgressCallback
) -> None:
    """Copy all items to the new shards, block by block, each shard in turn."""
    with ExitStack() as opened:
        sources = [_opened(opened, old) for old in olds]
        news = [storage.writing(folder) for folder in after.folders()]
        for new in news:
            opened.enter_context(WriterLock(new))
        stores = [_opened(opened, new) for new in news]
        total, done = 0, 0
        for store in sources:
            with store.reading():
                total += store.count()
        for store in sources:
            with store.reading():
                _agree(store, stores)
                for block in store.moved_items(BLOCK_ITEMS):
                    _bring(store, block, stores, after)
                    done += len(block)
                    progress(Progress("storing", done, total))
        progress(Progress("tables", 0, None))
        for store, new in zip(stores, news, strict=True):
            publish_due(store, new, lambda *_: None)
    for folder in after.folders():
        storage.publish(folder)


def _opened(stack: ExitStack, folder: Path) -> ItemStore:
    store = ItemStore.open(folder / "items.db")
    stack.callback(store.close)
    return store


def _agree(old: ItemStore, news: Iterable[ItemStore]) -> None:
    """Let new shards know what an old one knows beside its items."""
    names, indexed = old.field_names(), old.indexed_fields()
    taken = old.setting("columns_taken") or {}
    for new in news:
        with new.writing() as writer:
            writer.note_fields(names)
            for name in indexed:
                writer.index_field(name)
            writer.change_settings(
                {"columns_taken": {**(writer.setting("columns_taken") or {}), **taken}}
            )


def _bring(old: ItemStore, block: list[MovedItem], news: list[ItemStore], after: Layout) -> None:
    shards: dict[int, list[MovedItem]] = {}
    for item in block:
        shards.setdefault(after.shard_of(item.key), []).append(item)
    for shard, items in shards.items():
        with news[shard].writing() as writer:
            _insert(old, writer, items)


def _insert(old: ItemStore, writer: ItemWriter, items: list[MovedItem]) -> None:
    by_source: dict[str | None, list[MovedItem]] = {}
    for item in items:
        by_source.setdefault(item.source, []).append(item)
    for location, own in by_source.items():
        rows = writer.insert(
            (
                NewItem(item.key, item.code, item.fields, item.content_hash, item.position)
                for item in own
            ),
            writer.source_id(location),
        )
        if old.vector_length is not None:
            # What was rounded once stays as it is when it is rounded again.
            matrix = old.vectors_of([item.row for item in own])
            writer.keep_vectors(rows, np.asarray(matrix, dtype=np.float32))
