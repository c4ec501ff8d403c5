"""What every kind of features offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
"""The version of what ``to_json`` writes."""

ArrayReader = Callable[[str], NDArray[Any]]
"""Reads an array that was kept beside ``features.json``, by the name of its file."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A value that could not be read: its position in the batch, and why."""

    position: int
    reason: str


class Features(Protocol):
    """Turns the values of items into rows of a matrix."""

    @property
    def kind(self) -> str:
        """``"images"``, ``"text"`` or ``"vectors"``."""
        ...

    @property
    def n_features(self) -> int:
        """The length of a row."""
        ...

    def matrix(self, values: Sequence[Any]) -> tuple[NDArray[np.float32], list[Failure]]:
        """Turn a batch of values into rows.

        Returns:
            ``float32`` ``(m, n_features)``, C-contiguous: a row for each readable value, in order;
            and the others, in order. ``m`` plus the number of failures is the number of values.

        Raises:
            InputError: a value that can be read has another shape or type than the features.
        """
        ...

    def vector(self, value: Any) -> NDArray[np.float32]:
        """Turn one value into a row, the same as :meth:`matrix` makes of it.

        Returns:
            ``float32`` ``(n_features,)``.

        Raises:
            InputError: the value cannot be read, or has another shape or type than the features.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """What :func:`hashret.features.features_from_json` needs to make the same features."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is kept beside ``to_json``, by the names of the files; most features have none."""
        ...

    def describe(self) -> str:
        """A few words, such as ``"28 x 28 grey pixels"``."""
        ...
