"""A segment: codes in the order of their first part, with the tables that find them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.search.layout import Layout, Words


@dataclass(frozen=True, eq=False)
class Segment:
    """Codes and the tables of their parts; every array is C-contiguous and becomes read-only.

    The codes are sorted by the value of part 0, then by row; without parts, by row. Bucket b of a
    part is ``offsets[start + b]`` to ``offsets[start + b + 1]``, where ``start`` is in the layout's
    ``parts``: for part 0 a span of the codes themselves, for part j a span of block j - 1 of
    ``positions``, which has n numbers for each part and ascends within a bucket.

    Attributes:
        layout: how the bits lie in the words.
        words: the codes, shape ``(n, n_words)``, of the layout's dtype.
        rows: shape ``(n,)``, ``uint32``, or ``int64`` where they span 2**32 or more; relative to
            ``row_base``.
        row_base: the lowest row; 0 if there is none.
        row_end: the highest row + 1; 0 if there is none.
        offsets: ``uint32``, shape ``(layout.n_offsets,)``.
        positions: ``uint32``, shape ``((m - 1) * n,)`` for m parts.
        in_order: the same codes as ``words`` in another mapping of their file, one that is read
            ahead, which would slow down the access to single codes; None if there is none.
    """

    layout: Layout
    words: Words
    rows: NDArray[Any]
    row_base: int
    row_end: int
    offsets: NDArray[np.uint32]
    positions: NDArray[np.uint32]
    in_order: Words | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only, so that compiled code meets one kind of them."""
        for array in (self.words, self.rows, self.offsets, self.positions):
            array.flags.writeable = False

    def __len__(self) -> int:
        """The number of codes."""
        return len(self.words)

    @cached_property
    def kind(self) -> str:
        """The types of its words and rows: kernels are compiled for each kind."""
        return f"{self.words.dtype}-{self.rows.dtype}"

    @property
    def scanned(self) -> Words:
        """The codes, for going through all of them from first to last."""
        return self.words if self.in_order is None else self.in_order

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, in memory or mapped."""
        return sum(array.nbytes for array in (self.words, self.rows, self.offsets, self.positions))


def row_dtype(row_base: int, row_end: int) -> np.dtype[Any]:
    """The type that holds rows up to ``row_end`` relative to ``row_base``."""
    return np.dtype(np.uint32 if row_end - row_base <= 1 << 32 else np.int64)


def array_kinds(
    layout: Layout, n: int, row_base: int, row_end: int
) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """The dtype and shape of each array of a segment, by the name of its file.

    Tables are left out where the layout has none.
    """
    kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        "codes.npy": (layout.dtype, (n, layout.n_words)),
        "rows.npy": (row_dtype(row_base, row_end), (n,)),
    }
    numbers = np.dtype(np.uint32)
    if layout.n_offsets:
        kinds["offsets.npy"] = (numbers, (layout.n_offsets,))
    if len(layout.parts) > 1:
        kinds["positions.npy"] = (numbers, ((len(layout.parts) - 1) * n,))
    return kinds
