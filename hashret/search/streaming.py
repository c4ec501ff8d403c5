"""Build the files of a segment in bounded memory, however many codes there are.

The codes are gone through several times, from first to last, and every file is written from front
to back: no step needs a disk that is fast at random places, or codes that fit into memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes, as_codes
from hashret.errors import IndexExistsError
from hashret.search import segment_files
from hashret.search.array_file import ArrayFile
from hashret.search.building import build_segment, check_rows, choose_layout, relative_rows
from hashret.search.layout import Layout
from hashret.search.segment import array_kinds
from hashret.search.threads import Passes, Progress
from hashret.search.unfinished import Unfinished, alone, checksum, folder_beside

MEMORY_BYTES = 2 << 30

_FIRST, _OTHERS = ("codes.npy", "rows.npy"), ("positions.npy",)


def build_files(
    codes: ArrayLike,
    rows: ArrayLike | None,
    path: Path,
    progress: Progress | None = None,
    memory_bytes: int = MEMORY_BYTES,
    resume: bool = False,
) -> None:
    """Build the segment of codes in the new folder ``path``.

    The files are, byte by byte, those of :func:`~hashret.search.building.build_segment`, which
    makes them where ``memory_bytes`` allow. They are written beside ``path``, flushed to the disk
    and renamed into place.

    Args:
        codes: ``uint8``, shape ``(n, n_bits / 8)``, n below 2**32 - 1; may be mapped from a file.
        rows: as for ``build_segment``; may be mapped as well.
        path: where nothing is yet.
        progress: is called a few times a second.
        memory_bytes: for what is being built; counters, at most 0.3 GB, come on top.
        resume: if the work is interrupted, keep what is finished, in a hidden folder beside
            ``path``, and go on from there when called again with the same codes and rows.

    Raises:
        InputError: codes or rows of another dtype, shape or order, too many codes, or others than
            those that the unfinished files were made of.
        IndexExistsError: something is at ``path`` already.
        IndexLockedError: another process is building here with ``resume``.
        HashretError: the files cannot be written.
    """
    # A view that is read-only, so that compiled code meets one kind of array.
    codes = as_codes(codes).view()
    codes.flags.writeable = False
    n = len(codes)
    if os.path.lexists(path):
        raise IndexExistsError(f"{path} already exists: search files are never written over.")
    given, base, end = check_rows(rows, n)
    layout = choose_layout(codes)
    if not len(layout.parts) or n * _bytes_in_memory(layout) <= memory_bytes:
        segment_files.publish_segment(path, build_segment(codes, given, layout))
        return
    facts = segment_files.facts_of(layout, n, base, end)
    with ExitStack() as stack:
        kept = folder_beside(path) if resume else None
        folder = stack.enter_context(segment_files.writing(path, kept))
        note = None
        if resume:
            stack.enter_context(alone(folder))
            note = Unfinished(folder, {**facts, "checksum": checksum(codes, given)})
        known = note.files if note is not None else {}
        files = {
            name: stack.enter_context(ArrayFile(folder / name, *kind, known.get(name)))
            for name, kind in array_kinds(layout, n, base, end).items()
        }
        stream = _Stream(layout, n, files, memory_bytes, note, progress)
        stream.build_codes(codes, lambda own: relative_rows(given, own, base, end))
        stream.build_positions()
        segment_files.publish(path, folder, files.values(), facts)


def _bytes_in_memory(layout: Layout) -> int:
    """What ``build_segment`` takes for a code, about."""
    return 2 * layout.n_words * layout.dtype.itemsize + 4 * len(layout.parts) + 40


@dataclass(frozen=True)
class _Range:
    """Places ``first`` and up of the final order, which buckets ``lowest`` and up reach into."""

    first: np.uintp
    lowest: np.uintp
    arrays: list[NDArray[Any]]


_Count: TypeAlias = Callable[[slice, NDArray[np.uint32]], None]
"""Adds some codes to the counts of their buckets."""
_Place: TypeAlias = Callable[[slice, NDArray[np.uint32], _Range], None]
"""Puts those of some codes that lie in a range there, by the next places of their buckets."""


class _Stream:
    """What is done for each part: count its buckets, then fill one range of places after another.

    A range is filled in memory while the one before it is written.
    """

    def __init__(
        self,
        layout: Layout,
        n: int,
        files: dict[str, ArrayFile],
        memory_bytes: int,
        note: Unfinished | None,
        progress: Progress | None,
    ) -> None:
        self._layout = layout
        self._n = n
        self._files = files
        self._memory_bytes = memory_bytes
        self._note = note
        todo = [self._ranges(part) for part in range(len(layout.parts))]
        self._passes = Passes(n, sum(1 + len(ranges) for ranges in todo if ranges), progress)

    def build_codes(self, codes: Codes, rows: Callable[[slice], NDArray[Any]]) -> None:
        """Write the files of codes and rows, and the offsets of part 0."""
        from hashret.search.build_kernels import count_codes, place_codes

        tables = self._layout.word_tables
        shift, mask = self._shift_and_mask(0)

        def count(block: slice, counts: NDArray[np.uint32]) -> None:
            count_codes(codes[block], tables, shift, mask, counts)

        def place(block: slice, cursor: NDArray[np.uint32], to: _Range) -> None:
            words_out, rows_out = to.arrays
            some = codes[block], rows(block)
            start = to.lowest, to.first
            place_codes(*some, tables, shift, mask, cursor, *start, words_out, rows_out)

        self._build(0, count, place)

    def build_positions(self) -> None:
        """Write the positions and the offsets of the other parts."""
        from hashret.search.build_kernels import count_words, place_positions

        self._files["codes.npy"].flush()
        words = np.asarray(np.load(self._files["codes.npy"].path, mmap_mode="r"))
        for part in range(1, len(self._layout.parts)):
            word = np.uintp(self._layout.parts[part, 0])
            bits = (word, *self._shift_and_mask(part))

            def count(block: slice, counts: NDArray[np.uint32], bits: Any = bits) -> None:
                count_words(words[block], *bits, counts)

            def place(
                block: slice, cursor: NDArray[np.uint32], to: _Range, bits: Any = bits
            ) -> None:
                start = to.lowest, to.first
                place_positions(words[block], block.start, *bits, cursor, *start, *to.arrays)

            self._build(part, count, place)

    def _build(self, part: int, count: _Count, place: _Place) -> None:
        ranges = self._ranges(part)
        if not ranges:
            return
        _, _, width, start = self._layout.parts[part].tolist()
        cursors = np.zeros((self._passes.n_shares, 1 << width), dtype=np.uint32)
        self._passes.run(lambda share, block: count(block, cursors[share]))
        offsets = np.zeros((1 << width) + 1, dtype=np.uint32)
        np.cumsum(cursors.sum(axis=0, dtype=np.uint32), out=offsets[1:])
        if len(self._files["offsets.npy"]) == start:
            self._files["offsets.npy"].append(offsets)
        # What one share has of a bucket comes after what the shares before it have.
        begin = offsets[:-1].copy()
        for own in cursors:
            counted = own.copy()
            own[:] = begin
            begin += counted
        with ThreadPoolExecutor(1) as writer:
            written: Future[None] | None = None
            for places in ranges:
                arrays = self._fill(part, places, offsets, cursors, place)
                if written is not None:
                    written.result()
                written = writer.submit(self._write, part, arrays)
            if written is not None:
                written.result()

    def _fill(
        self,
        part: int,
        places: range,
        offsets: NDArray[np.uint32],
        cursors: NDArray[np.uint32],
        place: _Place,
    ) -> list[NDArray[Any]]:
        lowest = int(np.searchsorted(offsets, places.start, side="right")) - 1
        highest = int(np.searchsorted(offsets, places.stop, side="left"))
        own = cursors[:, lowest:highest].copy()
        arrays = [
            np.empty((len(places), *file.shape[1:]), dtype=file.dtype) for file in self._of(part)
        ]
        to = _Range(np.uintp(places.start), np.uintp(lowest), arrays)
        self._passes.run(lambda share, block: place(block, own[share], to))
        return arrays

    def _write(self, part: int, arrays: list[NDArray[Any]]) -> None:
        for file, array in zip(self._of(part), arrays, strict=True):
            file.append(array)
        if self._note is not None:
            self._note.save(self._files.values())

    def _ranges(self, part: int) -> list[range]:
        """The places of a part that are not written yet, cut to what fits into memory twice."""
        files = self._of(part)
        first = min(max(len(files[0]) - max(0, part - 1) * self._n, 0), self._n)
        size = sum(file.row_bytes for file in files) * (self._n - first)
        n_ranges = 1 if size <= self._memory_bytes else -(-2 * size // self._memory_bytes)
        cuts = [first + (self._n - first) * i // n_ranges for i in range(n_ranges + 1)]
        return [range(a, b) for a, b in pairwise(cuts) if a < b]

    def _of(self, part: int) -> list[ArrayFile]:
        return [self._files[name] for name in (_FIRST if part == 0 else _OTHERS)]

    def _shift_and_mask(self, part: int) -> tuple[Any, Any]:
        kind = self._layout.dtype.type
        _, shift, width, _ = self._layout.parts[part].tolist()
        return kind(shift), kind((1 << width) - 1)
