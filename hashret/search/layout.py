"""How the bits of a code lie in the words of a segment, and which of them are the parts.

A segment stores codes as machine words whose bits are permuted. Each word is cut into parts, the
substrings of multi-index hashing (Norouzi, Punjani and Fleet, *Fast Exact Search in Hamming Space
with Multi-Index Hashing*, 2014): a part addresses a table directly, and buckets stay small where
the bits of a part are balanced and say little about each other. So bits are assigned to parts by
what they share with each other in a sample of the codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, check_n_bits
from hashret.errors import DamagedIndexError, UsageError
from hashret.search.assignment import assign_bits

Words: TypeAlias = NDArray[Any]
"""Codes as stored: ``uint32`` of shape ``(n, 1)`` or ``uint64`` of shape ``(n, n_words)``."""

WORD_BITS = 64
NARROW_BITS = 32
"""Codes up to this length are one ``uint32``."""
SAMPLE = 4096
"""Codes from which the bits are assigned, at most."""
MAX_WIDTH = 24
"""Bits of a part: its table takes ``4 * 2**width`` bytes, whatever it holds."""
LEAST_ADDRESS, MOST_ADDRESS = 8, 22
"""The widths that parts aim at, for few codes and for many."""

_BLOCK = 1 << 14
_FEW = 64


@dataclass(frozen=True, eq=False)
class Layout:
    """A permutation of the bits of a code, and the parts it is cut into.

    The bits are spread over the words as evenly as possible, the first words having more. In a
    word they are the low bits of an integer; the first place is the most significant of them, and
    what lies above is 0. Its parts follow each other from the first place; bits beyond the last
    part belong to none.

    Attributes:
        n_bits: the length of a code.
        bit_order: which bit of the code lies at each place, the words one after the other.
        parts: ``int64``, shape ``(m, 4)``: the word of each part, how far to shift it right, its
            width in bits, and where its ``2**width + 1`` offsets begin. Without parts a segment
            has no tables.
    """

    n_bits: int
    bit_order: tuple[int, ...]
    parts: NDArray[np.int64]

    @classmethod
    def choose(cls, n: int, n_bits: int, sample: Codes) -> Layout:
        """Choose parts for ``n`` codes, and their bits by a sample.

        The same arguments give the same layout.

        Args:
            n: codes of the segment: parts are about log2(n) bits wide.
            n_bits: the length of a code.
            sample: ``uint8``, shape ``(any, n_bits / 8)``; at most ``SAMPLE`` are looked at, evenly
                spread.
        """
        widths = _part_widths(n, n_bits)
        order = assign_bits(
            sample[:: max(1, -(-len(sample) // SAMPLE))], widths, _word_bits(n_bits)
        )
        return cls._of(n_bits, order, widths)

    @classmethod
    def plain(cls, n_bits: int) -> Layout:
        """The bits in their own order and no parts: for a set so small that it is scanned."""
        return cls._of(n_bits, range(n_bits), [[] for _ in _word_bits(n_bits)])

    @classmethod
    def from_json(cls, content: object) -> Layout:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedIndexError: it is no layout.
        """
        try:
            return cls._checked(content)
        except (TypeError, ValueError, KeyError) as error:
            raise DamagedIndexError(f"This is no layout of codes: {error}.") from error

    @classmethod
    def _checked(cls, content: Any) -> Layout:
        n_bits, order, widths = content["n_bits"], content["bit_order"], content["part_widths"]
        try:
            check_n_bits(n_bits)
        except UsageError as error:
            raise ValueError(f"{n_bits!r} bits") from error
        if any(type(i) is not int for i in [*order, *(width for own in widths for width in own)]):
            raise TypeError("a number is not an integer")
        if sorted(order) != list(range(n_bits)):
            raise ValueError(f"the order is none of {n_bits} bits")
        for own, room in zip(widths, _word_bits(n_bits), strict=True):
            if any(not 1 <= width <= MAX_WIDTH for width in own) or sum(own) > room:
                raise ValueError(f"no parts of {own} bits fit into {room}")
        if any(widths) and not widths[0]:
            raise ValueError("the first part is not in the first word")
        return cls._of(n_bits, order, widths)

    @classmethod
    def _of(cls, n_bits: int, order: Sequence[int], widths: Sequence[Sequence[int]]) -> Layout:
        parts, start = [], 0
        for word, (own, shift) in enumerate(zip(widths, _word_bits(n_bits), strict=True)):
            for width in own:
                shift -= width
                parts.append((word, shift, width, start))
                start += (1 << width) + 1
        array = np.array(parts, dtype=np.int64).reshape(-1, 4)
        array.flags.writeable = False
        return cls(n_bits, tuple(order), array)

    def to_json(self) -> dict[str, Any]:
        """The layout as numbers, lists and a dictionary, for :meth:`from_json`."""
        widths: list[list[int]] = [[] for _ in range(self.n_words)]
        for word, _, width, _ in self.parts.tolist():
            widths[word].append(width)
        return {"n_bits": self.n_bits, "bit_order": [*self.bit_order], "part_widths": widths}

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a word: ``uint32`` or ``uint64``."""
        return np.dtype(np.uint32 if self.n_bits <= NARROW_BITS else np.uint64)

    @property
    def n_words(self) -> int:
        """The words of a code."""
        return len(_word_bits(self.n_bits))

    @property
    def n_offsets(self) -> int:
        """The offsets of all parts together."""
        return sum((1 << width) + 1 for width in self.parts[:, 2].tolist())

    def keys(self, words: Words, part: int) -> NDArray[Any]:
        """The values of one part, shape ``(n,)``, of the type of ``words``."""
        word, shift, width, _ = self.parts[part].tolist()
        kind = self.dtype.type
        keys: NDArray[Any] = words[:, word] >> kind(shift)
        keys &= kind((1 << width) - 1)
        return keys

    def to_words(self, codes: Codes) -> Words:
        """Permute codes, ``uint8`` of shape ``(n, n_bits / 8)``, into words, C-contiguous."""
        return _look_up(self.word_tables, codes)

    def to_codes(self, words: Words) -> Codes:
        """Permute words back into codes: the inverse of :meth:`to_words`."""
        padded = _look_up(self._code_tables, np.ascontiguousarray(words).view(np.uint8))
        return np.ascontiguousarray(padded.view(np.uint8)[:, : self.n_bits // 8])

    @cached_property
    def word_tables(self) -> Words:
        """What each value of each byte of a code adds (by XOR) to its words.

        Shape ``(n_bits / 8, 256, n_words)``, read-only.
        """
        words, places = self._places()
        masks = np.zeros((self.n_bits, self.n_words), dtype=self.dtype)
        masks[self.bit_order, words] = self.dtype.type(1) << places.astype(self.dtype)
        return _byte_tables(masks.reshape(-1, 8, self.n_words)[:, ::-1])

    @cached_property
    def _code_tables(self) -> Words:
        """The same for each byte of the words, which are taken as little-endian."""
        size = self.dtype.itemsize
        masks = np.zeros((self.n_words * size * 8, self.n_words * size), dtype=np.uint8)
        words, places = self._places()
        bits = np.array(self.bit_order)
        masks[words * size * 8 + places, bits // 8] = 1 << 7 - bits % 8
        return _byte_tables(masks.view(self.dtype).reshape(-1, 8, self.n_words))

    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The word and the bit in it, 0 the least significant, of each place."""
        sizes = _word_bits(self.n_bits)
        words = np.repeat(np.arange(len(sizes)), sizes)
        return words, np.concatenate([np.arange(size)[::-1] for size in sizes])


def _word_bits(n_bits: int) -> list[int]:
    n_words = 1 if n_bits <= NARROW_BITS else -(-n_bits // WORD_BITS)
    return list(_spread(n_bits, n_words))


def _spread(total: int, n: int) -> Iterator[int]:
    """Cut ``total`` into ``n`` numbers as even as possible, the larger first."""
    return (total // n + (i < total % n) for i in range(n))


def _part_widths(n: int, n_bits: int) -> list[list[int]]:
    address = log2(max(n, 1))
    most = min(MAX_WIDTH, max(1, int(n).bit_length() - 1))
    aim = min(max(address, LEAST_ADDRESS), MOST_ADDRESS)
    return [
        [min(width, most) for width in _spread(size, max(1, round(size / aim)))]
        for size in _word_bits(n_bits)
    ]


def _byte_tables(masks: Words) -> Words:
    """Tables of shape ``(n_bytes, 256, n_words)`` from masks of shape ``(n_bytes, 8, n_words)``.

    The masks of a byte are those of its bits, the least significant first.
    """
    tables = np.zeros((len(masks), 256, masks.shape[2]), dtype=masks.dtype)
    for bit in range(8):
        half = 1 << bit
        tables[:, half : 2 * half] = tables[:, :half] ^ masks[:, bit, None]
    tables.flags.writeable = False
    return tables


def _look_up(tables: Words, given: NDArray[np.uint8]) -> Words:
    """The XOR of the entries that the bytes of each row, shape ``(n, n_bytes)``, have in tables."""
    n_bytes, _, n_words = tables.shape
    if len(given) <= _FEW:
        entries = tables.reshape(-1, n_words).take(given + np.arange(0, n_bytes << 8, 256), axis=0)
        few: Words = np.bitwise_xor.reduce(entries, axis=1)
        return few
    result = np.empty((len(given), n_words), dtype=tables.dtype)
    entries = np.empty((_BLOCK, n_words), dtype=tables.dtype)
    for start in range(0, len(given), _BLOCK):
        block, out = given[start : start + _BLOCK], result[start : start + _BLOCK]
        # Any mode but "raise" lets take write into its output without another buffer.
        tables[0].take(block[:, 0], axis=0, out=out, mode="clip")
        for byte in range(1, n_bytes):
            own = entries[: len(out)]
            tables[byte].take(block[:, byte], axis=0, out=own, mode="clip")
            out ^= own
    return result
