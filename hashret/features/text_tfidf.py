"""Text as TF-IDF of words and of parts of words, reduced by a truncated SVD (latent semantics)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError
from hashret.features.contract import FORMAT, ArrayReader
from hashret.features.text import BULK, TextFeatures, unit
from hashret.features.text_words import Corpus, checked_words, grams_of, numbered, words_of

DIMENSIONS = 256
MAX_WORDS = 30_000
MAX_GRAMS = 20_000

GRAM_WEIGHT = 0.1
"""What a part counts beside the word it is in; with it, unknown words and endings are read too."""

TABLE_FILE = "features.npy"


class TfidfFeatures(TextFeatures):
    """Sums of learned vectors of the words of a text, at length 1.

    A word that was learned has a vector of its own, in which those of its parts are included; any
    other word is the sum of the parts that were learned. Each counts ``1 + log(occurrences)``.

    Attributes:
        words: that have a vector.
        grams: parts of words that have one.
        table: the vectors, ``float16``, words first, shape ``(len(words) + len(grams), d)``.
    """

    method: ClassVar[str] = "tfidf"

    def __init__(
        self, words: Sequence[str], grams: Sequence[str], table: NDArray[np.float16]
    ) -> None:
        """Take what was learned."""
        self.words, self.grams, self.table = list(words), list(grams), table
        self.n_features = table.shape[1]
        self._word_rows = numbered(self.words)
        self._gram_rows = numbered(self.grams, len(self.words))

    @classmethod
    def learn(cls, values: Iterable[str]) -> Self:
        """Learn which words there are, and the directions in which texts differ most."""
        from hashret.features.text_learning import learn_vectors

        return cls(
            *learn_vectors(
                Corpus.read(values),
                DIMENSIONS,
                max_words=MAX_WORDS,
                max_grams=MAX_GRAMS,
                gram_weight=GRAM_WEIGHT,
            )
        )

    @cached_property
    def _wide_table(self) -> NDArray[np.float32]:
        return self.table.astype(np.float32)

    def _rows(self, texts: Sequence[str]) -> Iterator[NDArray[np.float32] | None]:
        # The same numbers, widened once for many texts or word by word for a few.
        table = self._wide_table if len(texts) >= BULK else self.table
        for text in texts:
            rows: list[int] = []
            weights: list[float] = []
            for word, count in words_of(text).items():
                found = self._rows_of(word)
                rows += found
                weights += [1 + math.log(count)] * len(found)
            if not rows:
                yield None
                continue
            vectors = table[rows].astype(np.float32, copy=False)
            # No matrix product: it may round differently by the number of threads.
            yield unit((vectors * np.array(weights, np.float32)[:, None]).sum(axis=0))

    def _rows_of(self, word: str) -> list[int]:
        row = self._word_rows.get(word)
        if row is not None:
            return [row]
        return [self._gram_rows[gram] for gram in grams_of(word) if gram in self._gram_rows]

    def top_words(self, row: NDArray[np.float32], limit: int) -> list[str]:
        """The words whose vectors have the most similar direction."""
        vectors = self._wide_table[: len(self.words)]
        lengths = np.sqrt(np.square(vectors).sum(axis=1))
        similarity = vectors @ np.asarray(row, np.float32) / np.maximum(lengths, 1e-12)
        return [self.words[place] for place in np.argsort(-similarity, kind="stable")[:limit]]

    def to_json(self) -> dict[str, Any]:
        """The words and parts."""
        return {
            "kind": self.kind,
            "format": FORMAT,
            "method": self.method,
            "n_features": self.n_features,
            "words": self.words,
            "grams": self.grams,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The vectors."""
        return {TABLE_FILE: self.table}

    @classmethod
    def from_json(cls, settings: dict[str, Any], read_array: ArrayReader) -> Self:
        """The inverse of :meth:`to_json` and :meth:`arrays`."""
        words, grams = checked_words(settings, "words"), checked_words(settings, "grams")
        n_features = settings.get("n_features")
        if type(n_features) is not int or n_features < 1:
            raise DamagedIndexError(
                f"features.json is damaged: n_features must be a positive number, found "
                f"{n_features!r}."
            )
        table = read_array(TABLE_FILE)
        shape = (len(words) + len(grams), n_features)
        if table.dtype != np.float16 or table.shape != shape:
            raise DamagedIndexError(
                f"{TABLE_FILE} and features.json do not belong together: expected float16 of shape "
                f"{shape}, found {table.dtype} of shape {table.shape}."
            )
        return cls(words, grams, table)

    def describe(self) -> str:
        """``"TF-IDF of 30,000 words and 20,000 parts of words in 256 dimensions"``."""
        return (
            f"TF-IDF of {len(self.words):,} words and {len(self.grams):,} parts of words in "
            f"{self.n_features:,} dimensions"
        )
