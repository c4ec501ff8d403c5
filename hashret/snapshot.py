"""One committed state of an index, ready to be searched: segments, tail, and who may be a hit."""

from __future__ import annotations

import logging
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashret.errors import HashretError
from hashret.search import CodeIndex
from hashret.store import ItemStore

_log = logging.getLogger("hashret")

SEGMENT_ROWS = 10_000
"""A tail of this many rows is worth a segment of its own."""

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
    """

    generation: int
    parts: list[CodeIndex]
    deleted: NDArray[np.bool_] | None
    last_row: int
    tail_rows: int

    def allowed(self, rows: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
        """``bool`` mask by row of what may be a hit: no deleted row and, if given, only ``rows``.

        None stands for everything.
        """
        if rows is None:
            return None if self.deleted is None else ~self.deleted
        mask = np.zeros(self.last_row + 1, dtype=np.bool_)
        mask[rows] = True
        return mask


def take_snapshot(store: ItemStore, folder: Path, *, lenient: bool) -> Snapshot:
    """Load the state that ``store`` shows; call it inside ``store.reading()``.

    Args:
        store: the store.
        folder: the folder of the index.
        lenient: let the store itself, whose codes are the truth, answer for a segment that is
            missing or damaged: slower, never wrong, and said in the log.

    Raises:
        HashretError: a segment is missing or damaged, and ``lenient`` is False.
    """
    parts = []
    for name, first, last in store.segments():
        try:
            parts.append(CodeIndex.open(folder / "segments" / name))
        except HashretError as error:
            if not lenient:
                raise
            _log.warning(
                "%s Its items are read from items.db instead; `hashret compact` rebuilds it.", error
            )
            rows, codes = store.codes(first, last)
            parts.append(CodeIndex.build(codes, rows=rows))
    watermark = store.last_segment_row()
    rows, codes = store.codes(watermark + 1)
    if len(rows):
        parts.append(CodeIndex.build(codes, rows=rows))
    last_row = int(rows[-1]) if len(rows) else watermark
    deletions = store.deletions()
    deleted = None
    if len(deletions):
        deleted = np.zeros(last_row + 1, dtype=np.bool_)
        deleted[deletions[deletions <= last_row]] = True
    return Snapshot(store.generation, parts, deleted, last_row, len(rows))


def tables_are_due(store: ItemStore) -> Literal["all", "tail", "none"]:
    """Whether the tail deserves a segment, or the segments have become too many."""
    if store.count_from(store.last_segment_row() + 1) < SEGMENT_ROWS:
        return "none"
    return "all" if len(store.segments()) >= MAX_SEGMENTS else "tail"


def publish_tail(store: ItemStore, folder: Path) -> None:
    """Make a segment of the rows that are in none; the caller holds the writer's lock."""
    _publish(store, folder, [], store.last_segment_row() + 1)


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


def sweep_segments(store: ItemStore, folder: Path) -> None:
    """Remove what no committed state names: segments replaced, or never finished.

    Call it before a change, not after: what the last change replaced may still be about to be
    opened by a reader of the state before. Readers that have it mapped keep what they see.
    """
    segments = folder / "segments"
    segments.mkdir(exist_ok=True)
    named = {name for name, _, _ in store.segments()}
    for path in segments.iterdir():
        if path.name not in named:
            shutil.rmtree(path, ignore_errors=True)
