"""From a source to stored items: compare with what is there, encode what is new, write, sweep."""

from __future__ import annotations

import dataclasses
import logging
import time
from array import array

from hashret.encoder.runtime import Encoder
from hashret.errors import UsageError
from hashret.features import Features
from hashret.index.encoding import AddReport
from hashret.index.source_writer import Coder, SourceWriter
from hashret.progress import Progress, ProgressCallback, Stopwatch
from hashret.sources import Source
from hashret.store import ItemStore, ItemWriter

BATCH_ITEMS = 1_000_000
"""Where items are stored in batches: how many are committed at a time."""

_SWEPT_AT_A_TIME = 10_000

_log = logging.getLogger("hashret")


def store_source(
    store: ItemStore,
    source: Source,
    features: Features,
    encoder: Encoder,
    *,
    replace: bool,
    prune: bool,
    progress: ProgressCallback,
    batch_items: int | None = None,
) -> AddReport:
    """Write a source's items; items that are there stay untouched.

    An item belongs to the source that last gave it something: its value, or its fields. Given again
    unchanged, as part of a folder or a copy of a file, it stays with the source it has, so that
    the folder's labels are not lost, unless that source is no longer there.

    An image file under a new name, whose content is that of a stored one, takes its code.

    Args:
        store: the caller holds its writer's lock.
        source: the items; every key once.
        features: the index's features.
        encoder: the index's encoder.
        replace: let an item take the key of another source's different item.
        prune: then remove items that came from the source before and are no longer in it.
        progress: told of the items read, and of each batch that is on disk.
        batch_items: commit after so many new or changed items; None commits all of them at once,
            or none.

    Returns:
        Counts, and the inputs that were skipped, by name.

    Raises:
        InputError: a key belongs to another source's different item and ``replace`` is False, or
            an array has another shape than the index.
        UsageError: ``prune``, and a part of the source is not on disk; or an impossible batch.
    """
    parts = source.parts
    if prune and any(part.location is None for part in parts):
        raise UsageError(
            "prune removes what is no longer in a folder or file, and items given from Python have "
            "none to compare with; remove them by their keys."
        )
    _check_batch(batch_items)
    clock = Stopwatch()
    coder = Coder(features, encoder, clock)
    writers = [SourceWriter(part, coder, clock, replace=replace) for part in parts]
    steps = ((step, writer is writers[-1]) for writer in writers for step in writer.steps())
    seen = stored = pruned = 0
    finished = False
    try:
        while not finished:
            in_batch = 0
            with store.writing() as transaction:
                for writer in writers:
                    writer.store, writer.stored_before = transaction, stored
                finished = True
                for step, of_last_writer in steps:
                    seen, in_batch = seen + step.seen, in_batch + step.changed
                    progress(Progress("storing", seen, source.length, _on_disk(stored)))
                    if batch_items is not None and in_batch >= batch_items:
                        finished = step.is_last and of_last_writer
                        break
                for writer in writers:
                    transaction.note_fields(writer.field_names)
                if prune and finished:
                    # Last: what one of the sources no longer holds may have been found in another.
                    pruned = sum(_sweep(transaction, part) for part in parts)
                _note_columns(transaction, source)
                committing = time.perf_counter()
            clock.add({"store": time.perf_counter() - committing})
            stored += in_batch
            if not finished:
                progress(Progress("storing", seen, source.length, _on_disk(stored)))
    except BaseException:
        if stored:
            _log.warning(
                "%s items were stored before that and stay; give the same source again to go on.",
                f"{stored:,}",
            )
        raise
    finally:
        coder.close()
    for writer in writers:
        writer.warn_of_renumbering()
    report = AddReport.sum(writer.report() for writer in writers)
    return dataclasses.replace(report, pruned=pruned, seconds=clock.seconds)


def _note_columns(store: ItemWriter, source: Source) -> None:
    """Remember which columns of tables were taken."""
    before = store.setting("columns_taken") or {}
    now = {**before, **{table: dict(taken) for table, taken in source.columns_taken.items()}}
    if now != before:
        store.change_settings({"columns_taken": now})


def _on_disk(stored: int) -> str:
    return f"{stored:,} on disk" if stored else ""


def _check_batch(batch_items: object) -> None:
    if batch_items is not None and (
        isinstance(batch_items, bool) or not isinstance(batch_items, int) or batch_items < 1
    ):
        raise UsageError(
            f"batch_items must be a number of at least 1 or None, not {batch_items!r}."
        )


def _sweep(store: ItemWriter, source: Source) -> int:
    """Remove items that came from a source and are no longer in it; returns how many.

    In a folder, those are all files below it, whichever folder they were once given with.
    """
    if source.has_rows:
        items = store.rows_from(source.location or "")
    else:
        items = store.files_under(source.root or "")
    gone = array("q", (row for row, key in items if not source.holds(key)))
    for start in range(0, len(gone), _SWEPT_AT_A_TIME):
        store.delete_rows(gone[start : start + _SWEPT_AT_A_TIME])
    return len(gone)
