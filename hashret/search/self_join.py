"""All pairs of codes within a radius, without comparing each code with every other.

Cut the bits of a code into m parts: two codes that differ in at most r bits agree in at least
m - r parts. So for each choice of m - r parts the codes are sorted by these, and only codes that
agree in all of them are compared. With m = r nothing has to agree, and all codes are compared.

Equal codes are grouped first, so that a code takes part once, however often it occurs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, combinations, islice
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashret.errors import UsageError
from hashret.search.building import MAX_CODES
from hashret.search.interpreted_plan import damaged
from hashret.search.join_kernels import TILE, Choice, Work, find_pairs, group_equal, unfold
from hashret.search.join_parts import choose_parts, part_masks, sorted_keys
from hashret.search.layout import Layout, Words
from hashret.search.segment import Segment
from hashret.search.threads import n_cores, slices

_GATHERED = 1 << 16
_FOUND = 4 * TILE**2
_STREAMS = 4
_SHARES = 8
_ALL_ROWS = np.empty(0, dtype=np.uint8)

_Found: TypeAlias = tuple[NDArray[np.uint32], int]
"""Pairs of groups of equal codes: rows of two groups and their distance; and how many rows."""

_Block = TypeVar("_Block", bound=Sized)


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows whose codes are near.

    Attributes:
        rows_a: ``int64``, shape ``(k,)``.
        rows_b: ``int64``, shape ``(k,)``, each higher than its ``rows_a``.
        distances: ``int32``, shape ``(k,)``, in bits.
    """

    rows_a: NDArray[np.int64]
    rows_b: NDArray[np.int64]
    distances: NDArray[np.int32]

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.rows_a)

    @classmethod
    def room(cls, size: int) -> Pairs:
        """Pairs that are still to be written."""
        return cls(np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int32))

    def first(self, size: int) -> Pairs:
        """A copy of the first ones."""
        return Pairs(
            self.rows_a[:size].copy(), self.rows_b[:size].copy(), self.distances[:size].copy()
        )


_NO_PAIRS = Pairs.room(0)


def pairs_of(
    segments: Sequence[Segment],
    radius: int,
    allowed: NDArray[np.uint8] = _ALL_ROWS,
    block_pairs: int = 1 << 20,
) -> Iterator[Pairs]:
    """Find all pairs of codes within a radius, each once, within and across segments.

    The same arguments give the same blocks. Beside the segments this takes the memory of their
    codes twice, 50 bytes a code and a few blocks, however many pairs there are.

    Args:
        segments: of codes of one length and of disjoint rows, fewer than 2**32 codes in all.
        radius: the largest distance, in bits.
        allowed: bitmap of rows, as ``numpy.packbits`` makes it; rows beyond its end are left out.
            An empty one allows all.
        block_pairs: the most pairs of a block.

    Returns:
        The pairs, in blocks that are not empty.

    Raises:
        UsageError: a negative radius, blocks of no pairs, codes of several lengths, or too many.
        DamagedIndexError: rows of a segment make no sense; raised with the first block.
    """
    if block_pairs < 1:
        raise UsageError(f"block_pairs must be 1 or more, got {block_pairs}.")
    check_join(segments, radius)
    return _pairs(segments, radius, allowed, block_pairs)


def check_join(segments: Sequence[Segment], radius: int) -> None:
    """Refuse what :func:`pairs_of` cannot compare.

    Raises:
        UsageError: a negative radius, codes of several lengths, or too many.
    """
    if radius < 0:
        raise UsageError(f"radius must be 0 or more, got {radius}.")
    lengths = {segment.layout.n_bits for segment in segments}
    if len(lengths) > 1:
        raise UsageError(f"Codes of {sorted(lengths)} bits cannot be compared with each other.")
    if sum(map(len, segments)) > MAX_CODES:
        raise UsageError(f"At most {MAX_CODES:,} codes can be compared with each other at once.")


def _pairs(
    segments: Sequence[Segment], radius: int, allowed: NDArray[np.uint8], block_pairs: int
) -> Iterator[Pairs]:
    if not segments:
        return
    groups = EqualCodes.of(segments, allowed)
    ways = chain([groups.repeats()], groups.near(radius))
    yield from in_turn(groups.unfold(found, block_pairs) for found in ways)


@dataclass(frozen=True, eq=False)
class EqualCodes:
    """Equal codes: group i has the code ``words[i]`` and ``rows[starts[i]:starts[i + 1]]``.

    A few codes may have two groups.

    Attributes:
        words: the codes, as the ``layout`` has them, ``(n, n_words)``.
        starts: ``uint32``, ``(n + 1,)``.
        rows: ``int64``; in a group, in the order of the segments.
        layout: how words become codes again.
    """

    words: Words
    starts: NDArray[np.uint32]
    rows: NDArray[np.int64]
    layout: Layout

    @classmethod
    def of(cls, segments: Sequence[Segment], allowed: NDArray[np.uint8] = _ALL_ROWS) -> EqualCodes:
        """Group the codes of segments, at least one, as :func:`pairs_of` takes them.

        Raises:
            DamagedIndexError: rows of a segment make no sense.
        """
        words, rows = _gather(segments, allowed)
        keys = sorted_keys(words, part_masks(1, words.shape[1]))
        members = np.empty(len(words), dtype=np.uint32)
        starts = np.empty(len(words) + 1, dtype=np.uint32)
        n_groups = group_equal(keys, words, members, starts)
        starts = starts[: n_groups + 1].copy()
        return cls(words[members[starts[:-1]]], starts, rows[members], segments[0].layout)

    def near(self, radius: int) -> Iterator[Iterator[_Found]]:
        """Pairs of different groups within a radius, each once, as streams for :func:`in_turn`.

        What a stream yields is overwritten when it goes on.
        """
        radius = min(radius, self.layout.n_bits)
        return self._joins(radius, choose_parts(self.words, radius, self.layout.n_bits))

    def repeats(self) -> Iterator[_Found]:
        """Each group of several rows, as a pair with itself."""
        for own in slices(len(self.words), _FOUND):
            sizes = np.diff(self.starts[own.start : own.stop + 1])
            several = (np.flatnonzero(sizes > 1) + own.start).astype(np.uint32)
            yield np.stack([several, several, np.zeros_like(several)], axis=1), len(several)

    def _joins(self, radius: int, n_parts: int) -> Iterator[Iterator[_Found]]:
        """For each choice of parts, the pairs of groups that are found by it first."""
        masks = part_masks(n_parts, self.words.shape[1])
        n_shares = _SHARES if n_parts == radius else 1
        for parts in combinations(range(n_parts), n_parts - radius):
            chosen = np.zeros(n_parts, dtype=np.uint8)
            chosen[list(parts)] = 1
            for share in range(n_shares):
                yield self._join(Choice(masks, chosen, len(parts), share, n_shares), radius)

    def _join(self, choice: Choice, radius: int) -> Iterator[_Found]:
        keys = sorted_keys(self.words, choice.masks[choice.chosen == 1])
        left, right = np.zeros((2, self.words.shape[1], TILE), dtype=np.uint64)
        work = Work(left, right, np.empty(TILE, dtype=np.uint64))
        found = np.empty((_FOUND, 3), dtype=np.uint32)
        cursor = np.zeros(4, dtype=np.int64)
        while cursor[0] < len(keys):
            yield found, find_pairs(keys, self.words, choice, radius, cursor, work, found)

    def unfold(self, batches: Iterable[_Found], block_pairs: int) -> Iterator[Pairs]:
        """Turn pairs of groups into pairs of rows; no pairs where a batch does not fill a block."""
        block, size = Pairs.room(block_pairs), 0
        for found, n_found in batches:
            cursor = np.array([0, -1, -1])
            while cursor[0] < n_found:
                out = block.rows_a, block.rows_b, block.distances
                size = unfold(found, n_found, self.starts, self.rows, cursor, *out, size)
                if size == block_pairs:
                    yield block
                    block, size = Pairs.room(block_pairs), 0
            yield _NO_PAIRS
        yield block.first(size)


def _gather(
    segments: Sequence[Segment], allowed: NDArray[np.uint8]
) -> tuple[Words, NDArray[np.int64]]:
    """The codes of all segments, their bits in the order of the first, and their rows."""
    layout = segments[0].layout
    n = sum(map(len, segments))
    words = np.empty((n, layout.n_words), dtype=layout.dtype)
    rows = np.empty(n, dtype=np.int64)
    size = 0
    for segment in segments:
        for block in slices(len(segment), _GATHERED):
            own = segment.rows[block].astype(np.int64) + segment.row_base
            if own.min() < segment.row_base or own.max() >= segment.row_end:
                raise damaged("rows.npy")
            own_words = segment.scanned[block]
            if len(allowed):
                keep = _are_allowed(allowed, own)
                own, own_words = own[keep], own_words[keep]
            if segment.layout.bit_order != layout.bit_order:
                own_words = layout.to_words(segment.layout.to_codes(own_words))
            filled = slice(size, size + len(own))
            rows[filled], words[filled] = own, own_words
            size = filled.stop
    return words[:size], rows[:size]


def _are_allowed(allowed: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    bits = allowed.take(rows >> 3, mode="clip") << (rows & 7).astype(np.uint8)
    return np.asarray((bits & 128 != 0) & (rows >> 3 < len(allowed)))


def in_turn(streams: Iterator[Iterator[_Block]]) -> Iterator[_Block]:
    """Yield from a few streams in turn; on all cores, each runs ahead by one block.

    Blocks of nothing are left out: by one, a stream lets the others have their turn.
    """
    with ThreadPoolExecutor(min(n_cores(), _STREAMS)) as pool:
        running = deque(
            (stream, pool.submit(next, stream, None)) for stream in islice(streams, _STREAMS)
        )
        while running:
            stream, future = running.popleft()
            block = future.result()
            following = stream if block is not None else next(streams, None)
            if following is not None:
                running.append((following, pool.submit(next, following, None)))
            if block is not None and len(block):
                yield block
