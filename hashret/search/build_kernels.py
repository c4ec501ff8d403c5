"""Compiled loops that sort by counting: what a bucket holds keeps its order.

A pass over all codes counts the buckets of a part. Further passes each fill a range of places in
the final order that fits into memory. The cursor of a bucket is the place of its next code; where
that lies in the range, the code is put there.

The loops go over a block at a time, and do one thing each, so that a core has many accesses to
memory under way at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hashret.search.compiling import kernel, prefetch

BLOCK = 1024
_ZERO, _ONE = np.uintp(0), np.uintp(1)


@kernel(allocates=True)
def _word(codes: Any, i: Any, tables: Any, word: Any) -> Any:
    value = tables[_ZERO, codes[i, _ZERO], word]
    for byte in range(_ONE, np.uintp(codes.shape[1])):
        value ^= tables[byte, codes[i, byte], word]
    return value


@kernel(allocates=True)
def count_codes(codes: Any, tables: Any, shift: Any, mask: Any, counts: Any) -> None:
    """Count codes by the value of a part of their first word.

    Args:
        codes: ``uint8``, shape ``(n, n_bits / 8)``.
        tables: :attr:`~hashret.search.layout.Layout.word_tables`.
        shift: of the part, in the type of a word.
        mask: its lowest bits, as many as the part is wide, in the same type.
        counts: ``uint32``, shape ``(2**width,)``; is added to.
    """
    words = np.empty((BLOCK, 1), dtype=tables.dtype)
    for start in range(0, len(codes), BLOCK):
        size = min(BLOCK, len(codes) - start)
        for i in range(size):
            words[np.uintp(i), _ZERO] = _word(codes, np.uintp(start + i), tables, _ZERO)
        count_words(words[:size], _ZERO, shift, mask, counts)


@kernel(allocates=True)
def count_words(words: Any, word: Any, shift: Any, mask: Any, counts: Any) -> None:
    """Count words, shape ``(n, n_words)``, by a part of one of them; see :func:`count_codes`."""
    for i in range(len(words)):
        counts[np.uintp((words[np.uintp(i), word] >> shift) & mask)] += np.uint32(1)


@kernel(allocates=True)
def place_codes(
    codes: Any,
    rows: Any,
    tables: Any,
    shift: Any,
    mask: Any,
    cursor: Any,
    lowest: Any,
    first: Any,
    words_out: Any,
    rows_out: Any,
) -> None:
    """Put codes, as words, and their rows at those of their places that lie in a range.

    Args:
        codes: as in :func:`count_codes`.
        rows: shape ``(n,)``.
        tables: as in :func:`count_codes`.
        shift: as in :func:`count_codes`.
        mask: as in :func:`count_codes`.
        cursor: ``uint32``, the next places of the buckets that reach into the range; moved on.
        lowest: ``uintp``, the first of these buckets.
        first: ``uintp``, the first place of the range.
        words_out: shape ``(size of the range, n_words)``.
        rows_out: shape ``(size of the range,)``.
    """
    words = np.empty((BLOCK, 1), dtype=tables.dtype)
    which, places = np.empty(BLOCK, dtype=np.uintp), np.empty(BLOCK, dtype=np.uintp)
    for start in range(0, len(codes), BLOCK):
        size = min(BLOCK, len(codes) - start)
        for i in range(size):
            words[np.uintp(i), _ZERO] = _word(codes, np.uintp(start + i), tables, _ZERO)
        bits = (_ZERO, shift, mask)
        n = _select(words[:size], bits, cursor, lowest, first, rows_out, which, places)
        for j in range(_ZERO, n):
            i, place = which[j], places[j]
            rows_out[place] = rows[np.uintp(start) + i]
            words_out[place, _ZERO] = words[i, _ZERO]
            for other in range(_ONE, np.uintp(words_out.shape[1])):
                words_out[place, other] = _word(codes, np.uintp(start) + i, tables, other)


@kernel(allocates=True)
def place_positions(
    words: Any,
    position: Any,
    word: Any,
    shift: Any,
    mask: Any,
    cursor: Any,
    lowest: Any,
    first: Any,
    out: Any,
) -> None:
    """Put the positions of words, ``position`` and up, at their places in the order of a part.

    Args:
        words: shape ``(n, n_words)``.
        position: of the first of them.
        word: ``uintp``, the one that has the part.
        shift: as in :func:`count_codes`.
        mask: as in :func:`count_codes`.
        cursor: as in :func:`place_codes`.
        lowest: as in :func:`place_codes`.
        first: as in :func:`place_codes`.
        out: ``uint32``, shape ``(size of the range,)``.
    """
    which, places = np.empty(BLOCK, dtype=np.uintp), np.empty(BLOCK, dtype=np.uintp)
    for start in range(0, len(words), BLOCK):
        block = words[start : start + BLOCK]
        n = _select(block, (word, shift, mask), cursor, lowest, first, out, which, places)
        for j in range(_ZERO, n):
            out[places[j]] = np.uint32(np.uintp(position + start) + which[j])


@kernel(allocates=True)
def _select(
    words: Any, bits: Any, cursor: Any, lowest: Any, first: Any, out: Any, which: Any, places: Any
) -> Any:
    """Find those of a block of words that belong into the range, and their places in ``out``.

    Returns:
        How many there are; the first of ``which`` and ``places`` describe them.
    """
    word, shift, mask = bits
    n_buckets, n_places = np.uintp(len(cursor)), np.uintp(len(out))
    near = _ZERO
    for i in range(_ZERO, np.uintp(len(words))):
        # A bucket or a place before the first is a huge number here: one test excludes it too.
        bucket = np.uintp((words[i, word] >> shift) & mask) - lowest
        which[near] = i
        places[near] = bucket
        if bucket < n_buckets:
            prefetch(cursor, bucket)
            near += _ONE
    found = _ZERO
    for j in range(_ZERO, near):
        bucket = places[j]
        place = np.uintp(cursor[bucket]) - first
        cursor[bucket] += np.uint32(1)
        which[found] = which[j]
        places[found] = place
        if place < n_places:
            prefetch(out, place)
            found += _ONE
    return found
