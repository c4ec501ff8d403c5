"""Groups of near codes: the connected components of the pairs within a radius.

That is single linkage: from any code of a group any other is reached in steps of at most the
radius, though the two ends of a chain may lie further apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes

if TYPE_CHECKING:
    from hashret.search.segment import Segment
    from hashret.search.self_join import EqualCodes

_ALL_ROWS = np.empty(0, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Components:
    """Groups of at least two codes, the largest first, then by their first row.

    Attributes:
        rows: ``int64``, shape ``(n,)``: group i is ``rows[starts[i]:starts[i + 1]]``, ascending.
        codes: ``uint8``, shape ``(n, n_bits / 8)``, of these rows.
        starts: ``int64``, shape ``(n_groups + 1,)``.
        compared: how many codes there were.
    """

    rows: NDArray[np.int64]
    codes: Codes
    starts: NDArray[np.int64]
    compared: int

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self.starts) - 1


def components_of(
    segments: Sequence[Segment], radius: int, allowed: NDArray[np.uint8] = _ALL_ROWS
) -> Components:
    """Find all groups of near codes, within and across segments.

    Equal codes count once, however many there are, and pairs are used as they are found: beside
    the segments this takes about 100 bytes a code, however many pairs there are.

    Args:
        segments: as for :func:`~hashret.search.self_join.pairs_of`.
        radius: the largest distance of a pair, in bits.
        allowed: as for :func:`~hashret.search.self_join.pairs_of`.

    Raises:
        UsageError: a negative radius, codes of several lengths, or too many.
        DamagedIndexError: rows of a segment make no sense.

    Example:
        >>> from hashret.codes import pack
        >>> from hashret.search import CodeIndex
        >>> codes = CodeIndex.build(pack([[0] * 8, [1] * 8, [0] * 7 + [1]]))
        >>> components_of([codes.segment], radius=1).rows.tolist()
        [0, 2]
    """
    from hashret.search.self_join import EqualCodes, check_join

    check_join(segments, radius)
    if not segments:
        none = np.empty(0, dtype=np.int64)
        return Components(none, np.empty((0, 0), dtype=np.uint8), np.zeros(1, np.int64), 0)
    equal = EqualCodes.of(segments, allowed)
    ends = equal.starts.astype(np.int64)
    sizes = ends[1:] - ends[:-1]
    roots = _roots(equal, radius)
    size_of_root = np.bincount(roots, weights=sizes, minlength=len(sizes)).astype(np.int64)
    group = np.repeat(np.arange(len(sizes)), sizes)  # of equal codes, for each row
    several = size_of_root[roots[group]] > 1
    rows, group = equal.rows[several], group[several]
    root = roots[group]
    first = np.full(len(sizes), np.iinfo(np.int64).max)
    np.minimum.at(first, root, rows)
    order = np.lexsort((rows, first[root], -size_of_root[root]))
    rows, group, root = rows[order], group[order], root[order]
    begins = np.ones(len(rows), dtype=np.bool_)
    begins[1:] = root[1:] != root[:-1]
    starts = np.append(np.flatnonzero(begins), len(rows)).astype(np.int64)
    return Components(rows, equal.layout.to_codes(equal.words[group]), starts, len(equal.rows))


def _roots(equal: EqualCodes, radius: int) -> NDArray[np.uint32]:
    """For each group of equal codes the lowest that belongs to its component, ``(n,)``."""
    from hashret.search.component_kernels import unite
    from hashret.search.self_join import in_turn

    n_components = len(equal.words)
    roots = np.arange(n_components, dtype=np.uint32)
    for pairs in in_turn(_copies(found) for found in equal.near(radius)):
        n_components -= unite(pairs, roots)
        if n_components == 1:
            break
    while (higher := roots[roots] != roots).any():
        roots[higher] = roots[roots[higher]]
    return roots


def _copies(
    batches: Iterable[tuple[NDArray[np.uint32], int]],
) -> Iterator[NDArray[np.uint32]]:
    for found, n_found in batches:
        yield found[:n_found].copy()
