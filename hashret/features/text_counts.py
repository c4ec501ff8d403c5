"""Text as counts of words: the inputs of the original semantic hashing.

Salakhutdinov and Hinton (2009), "Semantic Hashing": an autoencoder reads the counts of the most
frequent words of a document and reconstructs their distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError
from hashret.features.contract import FORMAT, ArrayReader
from hashret.features.text import TextFeatures
from hashret.features.text_words import Corpus, checked_words, numbered, words_of

MAX_WORDS = 4000
"""More words would leave memory for fewer texts to learn from."""


class CountFeatures(TextFeatures):
    """How often each of the known words occurs.

    Attributes:
        words: those that are counted.
    """

    method: ClassVar[str] = "counts"

    def __init__(self, words: Sequence[str]) -> None:
        """Take the words to count."""
        self.words = list(words)
        self.n_features = len(self.words)
        self._places = numbered(self.words)

    @classmethod
    def learn(cls, values: Iterable[str]) -> Self:
        """Take the most frequent words that are not in most of the texts."""
        corpus = Corpus.read(values)
        return cls([corpus.words[n] for n in corpus.telling(corpus.frequencies, MAX_WORDS)])

    def _rows(self, texts: Sequence[str]) -> Iterator[NDArray[np.float32] | None]:
        for text in texts:
            row = np.zeros(self.n_features, dtype=np.float32)
            for word, count in words_of(text).items():
                place = self._places.get(word)
                if place is not None:
                    row[place] = count
            yield row if row.any() else None

    def top_words(self, row: NDArray[np.float32], limit: int) -> list[str]:
        """The words of the largest counts, or shares."""
        order = np.argsort(-np.asarray(row), kind="stable")
        return [self.words[place] for place in order[:limit]]

    def to_json(self) -> dict[str, Any]:
        """The words."""
        return {
            "kind": self.kind,
            "format": FORMAT,
            "method": self.method,
            "words": self.words,
        }

    @classmethod
    def from_json(cls, settings: dict[str, Any], read_array: ArrayReader) -> Self:  # noqa: ARG003
        """The inverse of :meth:`to_json`."""
        words = checked_words(settings, "words")
        if not words:
            raise DamagedIndexError("features.json is damaged: words names none.")
        return cls(words)

    def describe(self) -> str:
        """``"counts of 4,000 words"``."""
        return f"counts of {self.n_features:,} words"
