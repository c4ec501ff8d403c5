"""Words of texts, the parts of words, and how often they occur in a corpus."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError, InputError
from hashret.features.text import prepared

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD = re.compile(r"\w+")

GRAM_SIZES = (3, 4)
"""Lengths of the parts of words, in characters."""

MAX_WORD = 40
"""Longer words, such as lines in scripts without spaces, are read in pieces of this length."""

DISTINCT_WORDS = 1_000_000
"""So many are told apart while learning; any further word is passed over."""

MAX_SHARE = 0.5
"""Words of more than this share of the texts tell nothing."""

FEW_TEXTS = 10
"""Among fewer texts every word tells something."""


def words_of(text: str) -> Counter[str]:
    """How often each word occurs in a prepared text, in the order of first occurrence.

    Words are runs of letters and digits of any script, without regard to case and to forms of
    writing that Unicode counts as compatible.
    """
    return Counter(
        word[start : start + MAX_WORD]
        for word in WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        for start in range(0, len(word), MAX_WORD)
    )


def grams_of(word: str) -> list[str]:
    """The parts of a word of 3 and 4 characters, where a space stands for its begin and end."""
    padded = f" {word} "
    return [
        padded[start : start + size]
        for size in GRAM_SIZES
        for start in range(len(padded) - size + 1)
    ]


@dataclass(frozen=True)
class Corpus:
    """Which words occur how often in which texts.

    Attributes:
        words: distinct, in the order of first occurrence.
        counts: ``float32``, shape ``(texts that hold a word, len(words))``.
        frequencies: ``int64``, in how many of these texts each word occurs.
    """

    words: list[str]
    counts: csr_matrix
    frequencies: NDArray[np.int64]

    @classmethod
    def read(cls, values: Iterable[str]) -> Corpus:
        """Count the words of texts, which are gone through once.

        Raises:
            InputError: none of them holds a word.
        """
        from scipy.sparse import csr_matrix

        numbers: dict[str, int] = {}
        columns, counts, starts = array("i"), array("f"), array("q", [0])
        for value in values:
            for word, count in words_of(prepared(value)).items():
                number = numbers.get(word)
                if number is None:
                    if len(numbers) == DISTINCT_WORDS:
                        continue
                    number = numbers[word] = len(numbers)
                columns.append(number)
                counts.append(count)
            if len(columns) > starts[-1]:
                starts.append(len(columns))
        if not numbers:
            raise InputError("There is no word in any of the texts to learn from.")
        matrix = csr_matrix(
            (np.asarray(counts), np.asarray(columns), np.asarray(starts)),
            shape=(len(starts) - 1, len(numbers)),
        )
        frequencies = np.bincount(np.asarray(columns), minlength=len(numbers))
        return cls(list(numbers), matrix, frequencies)

    @property
    def n_texts(self) -> int:
        """How many texts hold a word."""
        return int(self.counts.shape[0])

    def telling(self, frequencies: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
        """Which terms to know: neither rare nor in most texts, the most frequent of these.

        Args:
            frequencies: in how many texts each term occurs.
            limit: how many at most.

        Returns:
            Their numbers, ascending; all terms where there is nothing between rare and frequent.
        """
        least = min(3, 1 + self.n_texts // 500)
        most = self.n_texts * (MAX_SHARE if self.n_texts >= FEW_TEXTS else 1)
        known = np.flatnonzero((frequencies >= least) & (frequencies <= most))
        if not len(known):
            known = np.arange(len(frequencies))
        by_frequency = np.argsort(-frequencies[known], kind="stable")
        return np.sort(known[by_frequency[:limit]])

    def rarity(self, frequencies: NDArray[np.int64]) -> NDArray[np.float32]:
        """The inverse document frequency of terms, smoothed as scikit-learn does."""
        weights = np.log((1 + self.n_texts) / (1 + frequencies)) + 1
        return weights.astype(np.float32)


def checked_words(settings: dict[str, Any], name: str) -> list[str]:
    """A list of distinct words out of ``features.json``.

    Raises:
        DamagedIndexError: it is none.
    """
    words = settings.get(name)
    if (
        not isinstance(words, list)
        or not all(isinstance(word, str) and word for word in words)
        or len(set(words)) != len(words)
    ):
        raise DamagedIndexError(f"features.json is damaged: {name} is no list of distinct words.")
    return words


def numbered(words: Sequence[str], first: int = 0) -> dict[str, int]:
    """The place of each word in a list, counted from ``first``."""
    return {word: number for number, word in enumerate(words, start=first)}
