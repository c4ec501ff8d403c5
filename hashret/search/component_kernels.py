"""Compiled: which elements hang together by pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from hashret.search.compiling import kernel


@kernel()
def unite(pairs: NDArray[np.uint32], parents: NDArray[np.uint32]) -> int:
    """Unite the sets to which the two elements of each pair belong.

    Union-find with path halving: Tarjan and van Leeuwen, "Worst-case analysis of set union
    algorithms", JACM 1984. The lowest element of a set is its root.

    Args:
        pairs: ``(k, at least 2)``: the numbers of two elements.
        parents: ``(n,)``: for each element one of its set that is lower, or itself; is changed.

    Returns:
        How many sets there are less than before.
    """
    united = 0
    for i in range(uint64(len(pairs))):
        a, b = _root(parents, uint64(pairs[i, 0])), _root(parents, uint64(pairs[i, 1]))
        if a != b:
            parents[max(a, b)] = min(a, b)
            united += 1
    return united


@kernel(inline=True)
def _root(parents: Any, element: Any) -> Any:
    while uint64(parents[element]) != element:
        parents[element] = parents[uint64(parents[element])]
        element = uint64(parents[element])
    return element
