"""One committed state of an index, ready to be searched: segments, tail, and who may be a hit."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError, HashretError
from hashret.files import folders_named, opened_folder, read_regular, remove_folder
from hashret.search import CodeIndex
from hashret.search.machine import Costs, ensure_measured
from hashret.search.segment_files import MANIFEST, MOST_BYTES, REMEDY
from hashret.store import ItemStore
from hashret.store.item_store import SHRUNK_FROM
from hashret.store.own_files import SEGMENT_NAME
from hashret.store.seal import Stamp, stamp_of, stamps_in

_log = logging.getLogger("hashret")

SEGMENT_ROWS = 10_000
"""A tail of this many rows is worth a segment of its own."""

GRACE_SECONDS = 60.0
"""A replaced segment is kept for readers that have yet to open it."""

GROWTH = 3
"""A new segment takes in those before it that are smaller than so many times what it has so far.

So each segment is at least so many times as large as the next one, and of n rows there are at most
1 + log(n / SEGMENT_ROWS) to this base: 8 for 10 million. A row that is written again is then in a
segment larger by a third at least, which also happens a logarithmic number of times only.
"""

MEASURED_FROM = 1_000_000
"""A segment of so many codes is worth the time to measure what searching takes on this machine."""

_UNFINISHED = re.compile(
    rf"\.(codes-[0-9a-f]{{8}}|{SEGMENT_NAME.pattern}\.([0-9a-f]{{8}}\.tmp|building))"
)

TablesProgress: TypeAlias = Callable[[int, int | None, str], None]
"""Is told how much of making tables is done, how much there is (None: not known), and of what."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a query needs of one committed state.

    Attributes:
        commit: the name of the state in the store.
        parts: the segments, mapped, and the tail, in memory; their rows are disjoint.
        live: bitmap of the rows, as ``numpy.packbits`` makes it from a mask by row, without those
            that stand in a part but are no items any more; None if there are no such rows.
        last_row: the highest row of any part.
        tail_rows: how many rows are in no segment.
        has_segments: whether any part is a segment.
        stamps: of the files of the segments, by their paths, when they were found whole.
    """

    commit: str
    parts: list[CodeIndex]
    live: NDArray[np.uint8] | None
    last_row: int
    tail_rows: int
    has_segments: bool
    stamps: dict[str, Stamp]

    def __len__(self) -> int:
        """The number of codes, those of deleted items included."""
        return sum(len(part) for part in self.parts)

    def is_untouched(self) -> bool:
        """Whether nobody has written to the files of the segments since they were opened.

        Those of a segment that was removed stay as they were for whoever has them mapped.
        """
        return all(stamp_of(path) in (stamp, None) for path, stamp in self.stamps.items())

    def allowed(self, rows: NDArray[np.int64] | None) -> NDArray[np.uint8] | None:
        """Bitmap of what may be a hit: no deleted row and, if given, only ``rows``, each once.

        None stands for everything.
        """
        if rows is None:
            return self.live
        bitmap = _bitmap(rows, self.last_row)
        if self.live is not None:
            bitmap &= self.live
        return bitmap


def _bitmap(rows: NDArray[np.int64], last_row: int) -> NDArray[np.uint8]:
    bitmap = np.zeros((last_row >> 3) + 1, dtype=np.uint8)
    # As no row comes twice, adding bits is the same as setting them, and faster.
    np.add.at(bitmap, rows >> 3, (128 >> (rows & 7)).astype(np.uint8))
    return bitmap


def take_snapshot(store: ItemStore, folder: Path, *, use_segments: bool = True) -> Snapshot:
    """Load the state that ``store`` shows; call it inside ``store.reading()``.

    A segment that is missing, damaged or of another format is answered for by the store itself,
    whose codes are the truth: slower, never wrong, and said in the log.

    Args:
        store: the store.
        folder: the folder of the index.
        use_segments: False lets the store answer for everything.
    """
    parts, unusable = [], []
    stamps: dict[str, Stamp] = {}
    segments = store.segments() if use_segments else []
    for name, first, last in segments:
        path = folder / "segments" / name
        try:
            own = stamps_in(path)
            parts.append(_open_segment(store, path, own))
            stamps.update((str(path / file), stamp) for file, stamp in own.items())
        except HashretError as error:
            unusable.append(error)
            rows, codes = store.codes(first, last)
            parts.append(CodeIndex.build(codes, rows=rows))
    if unusable:
        _log.warning(
            "%s items.db answers in the place of %d of %d segments, which takes longer; "
            "`hashret compact` rebuilds them, as does the next `hashret index`.",
            without_remedy(str(unusable[0])),
            len(unusable),
            len(segments),
        )
    watermark = store.last_segment_row() if use_segments else 0
    rows, codes = store.codes(watermark + 1)
    if len(rows):
        parts.append(CodeIndex.build(codes, rows=rows))
    last_row = int(rows[-1]) if len(rows) else watermark
    deletions = store.deletions()
    deletions = deletions[deletions <= last_row]
    live = ~_bitmap(deletions, last_row) if len(deletions) else None
    return Snapshot(store.commit, parts, live, last_row, len(rows), bool(segments), stamps)


def _open_segment(store: ItemStore, path: Path, stamps: dict[str, Stamp]) -> CodeIndex:
    """Map a segment; where its files may have been changed, every byte of them is read first."""
    segment = CodeIndex.open(path)
    if not store.guard.knows_segment(path, stamps):
        problems = segment_problems(store, segment)
        if problems:
            raise DamagedIndexError(problems[0])
        store.guard.note_whole_segment(path, stamps)
    return segment


def segment_problems(store: ItemStore, segment: CodeIndex) -> list[str]:
    """What is wrong with the files of a segment, or that they belong to another index."""
    path = segment.path
    if path is None:
        return []
    problems = segment.verify()
    if not problems and store.manifest_of(path.name) != manifest_checksum(path):
        named = [(first, last) for name, first, last in store.segments() if name == path.name]
        if not all(_agrees(store, segment, first, last) for first, last in named):
            return [f"{path} differs from items.db."]
    return problems


def _agrees(store: ItemStore, segment: CodeIndex, first: int, last: int) -> bool:
    rows, codes = segment.rows_and_codes()
    live = ~np.isin(rows, store.deletions())
    stored_rows, stored_codes = store.codes(first, last)
    return np.array_equal(rows[live], stored_rows) and np.array_equal(codes[live], stored_codes)


def manifest_checksum(path: Path) -> int | None:
    """The CRC-32 of a segment's manifest, which holds those of its other files."""
    try:
        return zlib.crc32(read_regular(path / MANIFEST, MOST_BYTES))
    except OSError:
        return None


def without_remedy(problem: str) -> str:
    """What is wrong with search files, without what to do where they belong to no index."""
    return problem.removesuffix(REMEDY).rstrip()


def publish_due(store: ItemStore, folder: Path, progress: TablesProgress) -> None:
    """Make a segment of the tail when it deserves one, or of what no segment answers for any more.

    The items are committed already: whatever goes wrong here is logged, for it only makes
    searching slower. Interrupted, it leaves the segments as they were. The caller holds the
    writer's lock; ``progress`` is told of work that is due, nothing otherwise.
    """
    try:
        first = _first_due(store, folder)
        if first is None:
            sweep_segments(store, folder)
        else:
            _publish(store, folder, first, progress)
    except Exception as error:
        _log.warning(
            "The items are stored, but no tables could be made of them (%s); they are searched "
            "by scanning until `hashret compact` has made some.",
            error,
        )


def publish_all(store: ItemStore, folder: Path, progress: TablesProgress) -> None:
    """Make one segment of all items, without the deleted rows, in the place of all others.

    The database gives back the room of what was deleted.

    Raises:
        HashretError: the files cannot be written.
    """
    with store.reading():
        removed, left = len(store.deletions()), store.count()
    try:
        _publish(store, folder, 1, progress)
    except HashretError:
        raise
    except OSError as error:
        raise HashretError(
            f"The search tables in {folder / 'segments'} could not be made anew "
            f"({error.filename or ''}: {error.strerror or error}). Nothing was changed; check that "
            "the folder is writable."
        ) from error
    store.shrink(thinned=removed * SHRUNK_FROM >= left)


def _first_due(store: ItemStore, folder: Path) -> int | None:
    """The first row of the segment that is due, which reaches to the last; None if none is."""
    segments = [
        (first, _n_codes(folder / "segments" / name)) for name, first, _ in store.segments()
    ]
    tail = store.last_segment_row() + 1
    together = store.count_from(tail)
    rebuilt_from = min((first for first, n in segments if n is None), default=tail)
    if rebuilt_from == tail and together < SEGMENT_ROWS:
        return None
    due = tail
    for first, n in reversed(segments):
        if n is not None and first < rebuilt_from and n >= GROWTH * together:
            break
        due, together = first, together + (n or 0)
    return due


def _n_codes(path: Path) -> int | None:
    """The number of codes of a segment; None if it cannot be used."""
    try:
        return len(CodeIndex.open(path))
    except HashretError:
        return None


def _publish(store: ItemStore, folder: Path, first: int, progress: TablesProgress) -> None:
    """Make a segment of all items from row ``first``, in the place of those that begin there."""
    with store.reading():
        sweep_segments(store, folder)
        replaced = [name for name, begin, _ in store.segments() if begin >= first]
    progress(0, None, "")
    # The name of what is never finished, so that it is swept away whatever happens.
    room = folder / "segments" / f".codes-{secrets.token_hex(4)}"
    try:
        with store.reading():
            rows, codes = store.codes(first, room=room)
            last = max(store.last_segment_row(), int(rows[-1]) if len(rows) else 0)
        if len(rows) == 0 and not replaced:
            return
        # A random name: a database restored from a copy must not find another state's segment
        # under a name it knows.
        name = f"{last:08d}-{secrets.token_hex(4)}"
        note = f"{len(rows):,} codes"
        progress(0, None, note)
        CodeIndex.build(
            codes,
            path=folder / "segments" / name,
            rows=rows,
            progress=lambda done, total: progress(done, total, note),
        )
    finally:
        shutil.rmtree(room, ignore_errors=True)
    with store.writing() as writer:
        manifest = manifest_checksum(folder / "segments" / name)
        writer.replace_segments(replaced, name, first, last, manifest)
        # The new segment was made of items only: what was deleted in its range is not in it.
        writer.forget_deletions(first, last)
    for old in replaced:
        with suppress(OSError):
            os.utime(folder / "segments" / old)  # from now on it is not needed
    if len(rows) >= MEASURED_FROM:
        ensure_measured(_measure)


def sweep_segments(store: ItemStore, folder: Path) -> None:
    """Remove what no committed state names: segments replaced a while ago, or never finished.

    A reader of the state before may be about to open what was replaced just now, so that is left
    to a later sweep. Readers that have a segment mapped keep what they see.
    """
    named = {name for name, _, _ in store.segments()}
    with opened_folder(folder) as own:
        with suppress(FileNotFoundError):
            if stat.S_ISREG(os.stat("segments", dir_fd=own, follow_symlinks=False).st_mode):
                os.unlink("segments", dir_fd=own)  # all that belongs here is derived
        with suppress(FileExistsError):
            os.mkdir("segments", dir_fd=own)
        with opened_folder("segments", dir_fd=own) as segments:
            for name in folders_named(_UNFINISHED, segments):
                remove_folder(name, segments)
            for name in folders_named(SEGMENT_NAME, segments):
                if name not in named and _is_old(name, segments):
                    remove_folder(name, segments)


def _is_old(name: str, segments: int) -> bool:
    with suppress(OSError):
        changed = os.stat(name, dir_fd=segments, follow_symlinks=False).st_mtime
        return time.time() - changed > GRACE_SECONDS
    return False


def _measure() -> Costs:
    # Imports the compiler, which takes long: not where the figures are known.
    from hashret.search.measuring import measure_costs

    return measure_costs()
