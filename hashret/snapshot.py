"""One committed state of an index, ready to be searched: segments, tail, and who may be a hit."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashret.errors import HashretError
from hashret.search import CodeIndex
from hashret.store import ItemStore

_log = logging.getLogger("hashret")

SEGMENT_ROWS = 10_000
"""A tail of this many rows is worth a segment of its own."""

GRACE_SECONDS = 60.0
"""A replaced segment is kept for readers that have yet to open it."""

MAX_SEGMENTS = 8
"""When there are so many segments, the next one takes the place of them all."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a query needs of one committed state.

    Attributes:
        generation: the number of the state, as the store counts.
        parts: the segments, mapped, and the tail, in memory; their rows are disjoint.
        deleted: ``bool`` mask by row of what stands in a part but is no item any more, or None.
        last_row: the highest row of any part.
        tail_rows: how many rows are in no segment.
        has_segments: whether any part is a segment.
    """

    generation: int
    parts: list[CodeIndex]
    deleted: NDArray[np.bool_] | None
    last_row: int
    tail_rows: int
    has_segments: bool

    def allowed(self, rows: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
        """``bool`` mask by row of what may be a hit: no deleted row and, if given, only ``rows``.

        None stands for everything.
        """
        if rows is None:
            return None if self.deleted is None else ~self.deleted
        mask = np.zeros(self.last_row + 1, dtype=np.bool_)
        mask[rows] = True
        return mask


def take_snapshot(store: ItemStore, folder: Path, *, use_segments: bool = True) -> Snapshot:
    """Load the state that ``store`` shows; call it inside ``store.reading()``.

    A segment that is missing or damaged is answered for by the store itself, whose codes are the
    truth: slower, never wrong, and said in the log.

    Args:
        store: the store.
        folder: the folder of the index.
        use_segments: False lets the store answer for everything.
    """
    parts = []
    segments = store.segments() if use_segments else []
    for name, first, last in segments:
        try:
            parts.append(CodeIndex.open(folder / "segments" / name))
        except HashretError as error:
            _log.warning(
                "%s Its items are read from items.db instead; `hashret compact` rebuilds it.", error
            )
            rows, codes = store.codes(first, last)
            parts.append(CodeIndex.build(codes, rows=rows))
    watermark = store.last_segment_row() if use_segments else 0
    rows, codes = store.codes(watermark + 1)
    if len(rows):
        parts.append(CodeIndex.build(codes, rows=rows))
    last_row = int(rows[-1]) if len(rows) else watermark
    deletions = store.deletions()
    deleted = None
    if len(deletions):
        deleted = np.zeros(last_row + 1, dtype=np.bool_)
        deleted[deletions[deletions <= last_row]] = True
    return Snapshot(store.generation, parts, deleted, last_row, len(rows), bool(segments))


def publish_due(store: ItemStore, folder: Path, announce: Callable[[], None]) -> None:
    """Make a segment of the tail when it deserves one, or of everything when there are many.

    The items are committed already: whatever goes wrong here is logged, for it only makes
    searching slower. The caller holds the writer's lock, and is told by ``announce`` before long
    work.
    """
    tail = store.last_segment_row() + 1
    try:
        if store.count_from(tail) < SEGMENT_ROWS:
            sweep_segments(store, folder)
            return
        announce()
        if len(store.segments()) < MAX_SEGMENTS:
            _publish(store, folder, [], tail)
        else:
            publish_all(store, folder)
    except (HashretError, OSError) as error:
        _log.warning(
            "The items are stored, but no tables could be made of them (%s); they are searched "
            "by scanning until `hashret compact` has made some.",
            error,
        )


def publish_all(store: ItemStore, folder: Path) -> None:
    """Make one segment of all items, without the deleted rows, in the place of all others."""
    _publish(store, folder, [name for name, _, _ in store.segments()], 1)


def _publish(store: ItemStore, folder: Path, replaced: list[str], first: int) -> None:
    sweep_segments(store, folder)
    with store.reading():
        rows, codes = store.codes(first)
        last = max(store.last_segment_row(), int(rows[-1]) if len(rows) else 0)
    if len(rows) == 0 and not replaced:
        return
    # A name of chance: a database restored from a copy must not find another state's segment
    # under a name it knows.
    name = f"{last:08d}-{secrets.token_hex(4)}"
    CodeIndex.build(codes, path=folder / "segments" / name, rows=rows)
    with store.writing():
        store.replace_segments(replaced, name, first, last)
        # The new segment was made of items only: what was deleted in its range is not in it.
        store.forget_deletions(first, last)
    for old in replaced:
        with suppress(OSError):
            os.utime(folder / "segments" / old)  # from now on it is not needed


def sweep_segments(store: ItemStore, folder: Path) -> None:
    """Remove what no committed state names: segments replaced a while ago, or never finished.

    A reader of the state before may be about to open what was replaced just now, so that is left
    to a later sweep. Readers that have a segment mapped keep what they see.
    """
    segments = folder / "segments"
    segments.mkdir(exist_ok=True)
    named = {name for name, _, _ in store.segments()}
    for path in segments.iterdir():
        unfinished = path.name.startswith(".")
        with suppress(OSError):
            old = time.time() - path.stat().st_mtime > GRACE_SECONDS
            if unfinished or (old and path.name not in named):
                shutil.rmtree(path)
