"""Inputs that were left out: the first of them by name, all of them by number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

MOST_NAMED = 1000
"""So many are kept by name: a file of a million bad lines must not fill the memory with reasons."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An input that was left out: its name, and why."""

    name: str
    reason: str


class SkippedInputs(list[Skipped]):
    """A list of the first thousand inputs that were left out, which only counts the others.

    Attributes:
        unnamed: how many more were left out than the list holds.

    Example:
        >>> many = SkippedInputs(Skipped(f"line {n}", "it is not JSON") for n in range(1002))
        >>> len(many), many.unnamed, many.total
        (1000, 2, 1002)
    """

    def __init__(self, inputs: Iterable[Skipped] = ()) -> None:
        """Start with these."""
        super().__init__()
        self.unnamed = 0
        self.extend(inputs)

    @property
    def total(self) -> int:
        """How many were left out."""
        return len(self) + self.unnamed

    def append(self, one: Skipped, /) -> None:
        """Note one more."""
        if len(self) < MOST_NAMED:
            super().append(one)
        else:
            self.unnamed += 1

    def extend(self, inputs: Iterable[Skipped], /) -> None:
        """Note these; of another such list, also those that it only counts."""
        unnamed = inputs.unnamed if isinstance(inputs, SkippedInputs) else 0
        for one in inputs:
            self.append(one)
        self.unnamed += unnamed

    def __iadd__(self, inputs: Iterable[Skipped], /) -> Self:  # type: ignore[misc, override]
        """As :meth:`extend`."""
        self.extend(inputs)
        return self
