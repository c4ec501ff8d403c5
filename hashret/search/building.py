"""Build a segment in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.search import planner
from hashret.search.found import ROW_BITS
from hashret.search.layout import Layout, Words
from hashret.search.segment import Segment, row_dtype
from hashret.search.threads import in_threads, slices

MAX_CODES = (1 << 32) - 2
"""Codes of a segment: its offsets are ``uint32``."""

_BLOCK = 1 << 16
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)


def build_segment(
    codes: Codes, rows: ArrayLike | None = None, layout: Layout | None = None
) -> Segment:
    """Build a segment of codes, which are copied.

    Args:
        codes: ``uint8``, shape ``(n, n_bits / 8)``, n below 2**32 - 1.
        rows: the row number of each code, integers of shape ``(n,)``, ascending, unique, 0 to
            2**52 - 1; by default 0 to n - 1.
        layout: by default the one that suits these codes.

    Raises:
        InputError: rows of another dtype, shape or order, or too many codes.
    """
    layout = layout or choose_layout(codes)
    given, base, end = check_rows(rows, len(codes))
    numbers = relative_rows(given, slice(0, len(codes)), base, end)
    words = np.empty((len(codes), layout.n_words), dtype=layout.dtype)

    def permute(own: slice) -> None:
        words[own] = layout.to_words(codes[own])

    in_threads(permute, slices(len(codes), _BLOCK))
    if not len(layout.parts):
        nothing = np.empty(0, dtype=np.uint32)
        return Segment(layout, words, numbers, base, end, nothing, nothing)

    offsets = np.empty(layout.n_offsets, dtype=np.uint32)
    order = _sort(layout, words, 0, offsets)
    words = _gather(words, order)
    numbers = order if given is None else _gather(numbers, order)
    positions = np.empty((len(layout.parts) - 1) * len(codes), dtype=np.uint32)

    def sort(part: int) -> None:
        start = (part - 1) * len(codes)
        positions[start : start + len(codes)] = _sort(layout, words, part, offsets)

    in_threads(sort, range(1, len(layout.parts)))
    return Segment(layout, words, numbers, base, end, offsets, positions)


def choose_layout(codes: Codes) -> Layout:
    """The layout that suits codes, shape ``(n, n_bits / 8)``: without parts if they are few."""
    n, n_bits = len(codes), codes.shape[1] * 8
    plain = Layout.plain(n_bits)
    if n * plain.n_words < planner.TABLE_FROM_WORDS:
        return plain
    return Layout.choose(n, n_bits, codes)


def check_rows(rows: ArrayLike | None, n: int) -> tuple[NDArray[Any] | None, int, int]:
    """Check the row numbers of ``n`` codes.

    Returns:
        The rows as an array, None for 0 to n - 1; the lowest; and the highest + 1.

    Raises:
        InputError: rows of another dtype, shape or order, or too many codes.
    """
    if n > MAX_CODES:
        raise InputError(f"A segment holds at most {MAX_CODES:,} codes, not {n:,}.")
    if rows is None:
        return None, 0, n
    given = np.asarray(rows)
    if given.shape != (n,) or (n and given.dtype.kind not in "iu"):
        raise InputError(
            f"rows must be {n} integers, one for each code, got {given.dtype} of shape "
            f"{given.shape}."
        )
    if not n:
        return given, 0, 0
    first, last = int(given[0]), int(given[-1])
    ascend = all(
        bool(np.all(given[own] < given[own.start + 1 : own.stop + 1]))
        for own in slices(n - 1, _BLOCK)
    )
    if first < 0 or last >> ROW_BITS or not ascend:
        raise InputError(f"rows must ascend, without repeats, within 0 to 2**{ROW_BITS} - 1.")
    return given, first, last + 1


def relative_rows(
    rows: NDArray[Any] | None, own: slice, row_base: int, row_end: int
) -> NDArray[Any]:
    """Some of the rows that :func:`check_rows` returned, in the form of a segment."""
    kind = row_dtype(row_base, row_end)
    if rows is None:
        return np.arange(own.start, own.stop, dtype=kind)
    relative: NDArray[Any] = rows[own] - rows.dtype.type(row_base)
    return relative.astype(kind)


def _sort(layout: Layout, words: Words, part: int, offsets: NDArray[np.uint32]) -> NDArray[Any]:
    """Sort by the value of a part, then by position; fill in the part's offsets.

    Returns:
        ``uint32`` positions, shape ``(n,)``.
    """
    # One number for value and position: sorting that is many times faster than argsort.
    keys = layout.keys(words, part).astype(np.uint64)
    keys <<= _HIGH
    keys |= np.arange(len(keys), dtype=np.uint64)
    keys.sort()
    order = (keys & _LOW).astype(np.uint32)
    keys >>= _HIGH
    _, _, width, start = layout.parts[part].tolist()
    own = offsets[start : start + (1 << width) + 1]
    own[0] = 0
    np.cumsum(np.bincount(keys.view(np.int64), minlength=1 << width), out=own[1:])
    return order


def _gather(array: NDArray[Any], order: NDArray[np.uint32]) -> NDArray[Any]:
    result = np.empty_like(array)

    def take(own: slice) -> None:
        array.take(order[own], axis=0, out=result[own], mode="clip")

    in_threads(take, slices(len(order), _BLOCK))
    return result
