"""Text as features: what all the ways from words to rows have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError, UsageError
from hashret.features.contract import ArrayReader, Failure

MAX_CHARACTERS = 100_000
"""What a text holds beyond these is not looked at."""

BULK = 64
"""So many texts at a time are worth preparing for."""

EMPTY = "holds no text"
UNKNOWN = "holds no word that these features know"

LAST_LATIN = "\u0250"
_LETTERS_LOOKED_AT = 1000

_LONE = re.compile("[\ud800-\udfff]")


class TextFeatures(ABC):
    """Turns texts into rows, each by itself: a row does not depend on the others of its batch.

    A text that holds nothing the features know has no row, as an image that cannot be decoded has
    none: it is skipped by name, and refused as a query. Of a text of more than 100,000 characters
    the first 100,000 count. What is no Unicode (lone surrogates) is read as the replacement
    character, control characters as spaces.

    Attributes:
        n_features: the length of a row.
    """

    kind: ClassVar[str] = "text"
    method: ClassVar[str]
    n_features: int

    @classmethod
    @abstractmethod
    def learn(cls, values: Iterable[str]) -> Self:
        """Learn from texts, which are gone through once.

        Raises:
            InputError: none of them holds a word.
        """

    @classmethod
    @abstractmethod
    def from_json(cls, settings: dict[str, Any], read_array: ArrayReader) -> Self:
        """The inverse of :meth:`to_json` and :meth:`arrays`.

        Raises:
            DamagedIndexError: the settings or arrays are not what these write.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as JSON."""

    @abstractmethod
    def describe(self) -> str:
        """A few words."""

    @abstractmethod
    def _rows(self, texts: Sequence[str]) -> Iterator[NDArray[np.float32] | None]:
        """A row for each prepared text; None where it holds nothing known."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays to be kept beside the JSON, by the names of their files."""
        return {}

    def top_words(
        self,
        row: NDArray[np.float32],  # noqa: ARG002 - those that have words use it
        limit: int,  # noqa: ARG002
    ) -> list[str]:
        """The words that a row ``(n_features,)``, such as a reconstruction, stands for most.

        Raises:
            UsageError: the features have no words to tell.
        """
        raise UsageError(
            f"Features that are {self.describe()} cannot be put into words, as those of --features "
            "tfidf or counts can; -o row.npy writes the row of numbers."
        )

    def matrix(self, values: Sequence[Any]) -> tuple[NDArray[np.float32], list[Failure]]:
        """Turn texts into rows; those that hold nothing known are failures.

        Raises:
            InputError: a value is no text.
        """
        texts = [prepared(value) for value in values]
        matrix = np.empty((len(texts), self.n_features), dtype=np.float32)
        failures = []
        filled = 0
        for position, row in enumerate(self._rows(texts)):
            if row is None:
                failures.append(Failure(position, UNKNOWN if texts[position].strip() else EMPTY))
            else:
                matrix[filled] = row
                filled += 1
        return matrix[:filled], failures

    def vector(self, value: Any) -> NDArray[np.float32]:
        """One text as ``float32`` of shape ``(n_features,)``.

        Raises:
            InputError: it is no text, or holds nothing known.
        """
        matrix, failures = self.matrix([value])
        if failures:
            shown = value if len(value) <= 60 else f"{value[:60]}..."
            raise InputError(f"The text {shown!r} cannot be used: it {failures[0].reason}.")
        row: NDArray[np.float32] = matrix[0]
        return row


def prepared(value: object) -> str:
    """A text as all features read it: bounded, of valid Unicode, without control characters.

    Raises:
        InputError: the value is no text.
    """
    if not isinstance(value, str):
        raise InputError(
            f"Expected text, got {type(value).__name__}; pass the words themselves, such as "
            "Path(file).read_text()."
        )
    text = value[:MAX_CHARACTERS]
    if _LONE.search(text):
        # A pair of surrogates is a character, a lone one is none.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", " ")


def is_in_latin_letters(texts: Iterable[str]) -> bool:
    """Whether at least half of the letters are Latin; texts without letters are."""
    latin = others = 0
    for text in texts:
        for character in text[:_LETTERS_LOOKED_AT]:
            if character.isalpha():
                if character < LAST_LATIN or "\u1e00" <= character <= "\u1eff":
                    latin += 1
                else:
                    others += 1
    return latin >= others


def unit(row: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """A row at length 1; None for a row of zeros, which has no direction."""
    length = np.sqrt(np.square(row).sum())
    return row / length if length > 0 else None
