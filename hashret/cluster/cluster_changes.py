"""Bring items to a cluster, and take items out of one."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hashret.cluster.cluster_layout import Layout
from hashret.cluster.joining import joined
from hashret.cluster.storage import ClusterStorage
from hashret.errors import HashretError, KeyNotFoundError, UsageError
from hashret.index.encoding import AddReport
from hashret.progress import ProgressCallback, no_progress

if TYPE_CHECKING:
    from hashret.cluster.parts import OpenedSource


def add_to_cluster(
    storage: ClusterStorage,
    layout: Layout,
    source: OpenedSource,
    *,
    address: str | None = None,
    progress: ProgressCallback = no_progress,
) -> tuple[AddReport, int]:
    """Bring a source's items to a cluster; returns what was done, and how many it has now.

    Raises:
        InputError: the source cannot be read, holds something else, or an item may not take its
            key.
        IndexLockedError: someone else is writing to it.
    """
    from hashret.cluster.pipeline import (
        Delivery,
        items_at_a_time,
        learned_encoder,
        run_pipeline,
    )

    encoder, keeps_vectors = learned_encoder(storage.root, layout.encoder)
    encoder.check_kind(source.source)
    most_items = items_at_a_time(layout.shards, encoder, keeps_vectors=keeps_vectors)
    with joined(address) as ending, _writers(storage, layout, ending=ending) as writers:
        delivery = Delivery(storage.root, layout, source.parts, tuple(writers), most_items)
        report = run_pipeline(source, delivery, secrets.token_hex(8), progress)
        while (count := _finish(writers, source.source.columns_taken)) is None:
            run_pipeline(source, delivery, secrets.token_hex(8), progress)
        return report, count


def remove_from_cluster(
    storage: ClusterStorage, keys: Iterable[str], *, address: str | None = None
) -> tuple[int, int]:
    """Remove items by their keys; returns how many, and how many are left.

    All keys are looked up before the first is removed. Interrupted between two shards, some are
    removed and some are not.

    Raises:
        UsageError: something else than keys was given.
        KeyNotFoundError: a key does not exist; nothing is removed.
    """
    from hashret.cluster.failures import asked

    layout = storage.layout()
    shards = _by_shard(layout, keys)
    with joined(address) as ending, _writers(storage, layout, ending=ending) as writers:
        held = asked([writers[shard].held.remote(own) for shard, own in shards.items()])
        missing = {key for own in shards.values() for key in own} - {k for ks in held for k in ks}
        if missing:
            raise KeyNotFoundError(
                f"The cluster at {storage.root} has no item with the key "
                f"{min(missing)!r}; nothing was removed."
            )
        removed = sum(asked([writers[shard].remove.remote(own) for shard, own in shards.items()]))
        if (count := _finish(writers, {})) is None:
            raise HashretError(
                "A node died meanwhile, and what it had removed may not be. Remove the keys again "
                "that are left."
            )
        return removed, count


def _by_shard(layout: Layout, keys: Iterable[str]) -> dict[int, list[str]]:
    if isinstance(keys, str) or not isinstance(keys, Iterable):
        raise UsageError(f"Several keys are expected, such as a list of them, got {keys!r}.")
    shards: dict[int, list[str]] = {}
    for key in dict.fromkeys(keys):
        if not isinstance(key, str):
            raise UsageError(f"A key is text, got {key!r} of type {type(key).__name__}.")
        try:
            shards.setdefault(layout.shard_of(key), []).append(key)
        except UnicodeEncodeError:
            raise KeyNotFoundError(
                f"No item has the key {key!r}, which is no Unicode text; nothing was removed."
            ) from None
    return shards


@contextmanager
def _writers(storage: ClusterStorage, layout: Layout, *, ending: bool) -> Iterator[list[Any]]:
    from hashret.cluster.writing import start_writers, stop_writers

    writers = start_writers(storage.root, layout.folders())
    try:
        yield writers
    except BaseException:
        # Tasks may be waiting for them still. Where these end with Ray, nobody hears of that.
        if not ending:
            stop_writers(writers)
        raise
    stop_writers(writers)


def _finish(writers: list[Any], columns_taken: Mapping[str, Mapping[str, str]]) -> int | None:
    """Let every shard know what all know, and show what was written; returns the items there are.

    None where a shard may have lost some with the node it was on: give the source again.

    Raises:
        InputError: two fields differ only in case.
    """
    from hashret.cluster.failures import asked

    if any(asked([writer.lost.remote() for writer in writers])):
        return None
    taken = {place: dict(columns) for place, columns in columns_taken.items()}
    names = {name for own in asked([w.field_names.remote() for w in writers]) for name in own}
    counts: list[int] = asked([w.finish.remote(sorted(names), taken) for w in writers])
    if any(asked([writer.lost.remote() for writer in writers])):
        return None
    return sum(counts)
