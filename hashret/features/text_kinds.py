"""Ways from texts to features, by name."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

from hashret.errors import DamagedIndexError, UsageError
from hashret.features.contract import ArrayReader
from hashret.features.text import TextFeatures, is_in_latin_letters

METHODS = ("auto", "wordllama", "tfidf", "counts")
"""What ``features`` may be, for texts."""

LOOKED_AT = 1000
"""So many texts tell in which letters all are written."""


def learn_text_features(values: Iterable[str], method: str = "auto") -> TextFeatures:
    """Learn how texts become rows, or take what is installed.

    Args:
        values: texts; they are gone through once.
        method: ``"wordllama"``, ``"tfidf"`` or ``"counts"``; ``"auto"`` is the first of these where
            its package is installed and the first texts are in Latin letters, and otherwise the
            second.

    Raises:
        InputError: none of the texts holds a word.
        UsageError: an unknown method, or wordllama is not installed.
    """
    if method == "auto":
        remaining = iter(values)
        first = list(islice(remaining, LOOKED_AT))
        values = chain(first, remaining)
        method = method_for(first, method)
    return _class_of(method_for((), method)).learn(values)


def method_for(texts: Iterable[str], method: str) -> str:
    """The method that :func:`learn_text_features` takes for these texts.

    Raises:
        UsageError: an unknown method.
    """
    if method not in METHODS:
        raise UsageError(f"features must be one of {', '.join(METHODS)}, not {method!r}.")
    if method != "auto":
        return method
    from hashret.features.text_wordllama import is_installed

    return "wordllama" if is_installed() and is_in_latin_letters(texts) else "tfidf"


def text_features_from_json(settings: dict[str, Any], read_array: ArrayReader) -> TextFeatures:
    """Make the features that ``to_json`` and ``arrays`` described.

    Raises:
        DamagedIndexError: an unknown method, or settings or arrays that make no sense.
    """
    method = settings.get("method")
    if method not in METHODS[1:]:
        raise DamagedIndexError(
            f"Expected text features by {', '.join(METHODS[1:])}, found {method!r}: features.json "
            "is damaged, or was written by a newer version of hashret."
        )
    return _class_of(method).from_json(settings, read_array)


def _class_of(method: str) -> type[TextFeatures]:
    if method == "wordllama":
        from hashret.features.text_wordllama import WordllamaFeatures

        return WordllamaFeatures
    if method == "counts":
        from hashret.features.text_counts import CountFeatures

        return CountFeatures
    from hashret.features.text_tfidf import TfidfFeatures

    return TfidfFeatures
