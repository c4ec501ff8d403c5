"""What every kind of features offers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
"""The version of what ``to_json`` writes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A value that could not be read: its position in the batch, and why."""

    position: int
    reason: str


class Features(Protocol):
    """Turns the values of items into rows of a matrix."""

    @property
    def kind(self) -> str:
        """``"images"`` or ``"vectors"``."""
        ...

    @property
    def n_features(self) -> int:
        """The length of a row."""
        ...

    @classmethod
    def learn(cls, values: Iterable[Any]) -> Self:
        """Decide the shape of a row from a sample of values.

        Raises:
            InputError: no value can be used, or they do not go together.
        """
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

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Self:
        """Make the features that ``to_json`` described.

        Raises:
            DamagedIndexError: the settings are not what ``to_json`` writes.
        """
        ...

    def describe(self) -> str:
        """A few words, such as ``"28 x 28 grey pixels"``."""
        ...
