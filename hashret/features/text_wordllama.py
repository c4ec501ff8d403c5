"""Text as the mean of static word embeddings, those that come with the package wordllama.

They were distilled from a large language model for English, and need no corpus to learn from.
Other languages that are written in Latin letters come out roughly by the pieces they share with
English; for those, and for other scripts, TF-IDF serves better.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import mmap
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError, EncoderMismatchError, InputError, UsageError
from hashret.features.contract import FORMAT, ArrayReader
from hashret.features.text import BULK, TextFeatures, is_in_latin_letters, unit
from hashret.features.text_words import WORD

WEIGHTS = Path("weights/l2_supercat_256.safetensors")
TOKENIZER = Path("tokenizers/l2_supercat_tokenizer_config.json")
TENSOR = "embedding.weight"
DIMENSIONS = 256

AT_A_TIME = 256
CHARACTERS_AT_A_TIME = 1_000_000
"""So many texts, of about so many characters, are cut into pieces together: a piece takes some 100
bytes, and a character of a rare script is three pieces."""

REMEDY = "`pip install 'hashret[text]'` brings it"


_log = logging.getLogger("hashret")


class _Model(NamedTuple):
    """The files of a model: what they hold, and the digest of both; the weights are mapped."""

    weights: mmap.mmap
    tokenizer: bytes
    digest: str


def is_installed() -> bool:
    """Whether the package wordllama is there, with its embeddings; it is not imported."""
    folder = _folder()
    return folder is not None and all((folder / name).is_file() for name in (WEIGHTS, TOKENIZER))


class WordllamaFeatures(TextFeatures):
    """The mean of the embeddings of a text's pieces of words, 256 dimensions, at length 1.

    The model is read from the installed package when it is first used, by its tokenizer and its
    weights alone: the package itself need not be imported, and nothing is downloaded.

    Attributes:
        digest: SHA-256 of weights and tokenizer; another model is refused.
    """

    method: ClassVar[str] = "wordllama"
    n_features = DIMENSIONS

    def __init__(self, digest: str) -> None:
        """Name the model."""
        self.digest = digest

    @classmethod
    def learn(cls, values: Iterable[str]) -> Self:
        """Take the installed model, if there is a text at all; nothing is learned from them.

        Raises:
            UsageError: wordllama is not installed.
        """
        if not any(True for _ in values):
            raise InputError("There is no text to learn from.")
        return cls(_read_model().digest)

    @cached_property
    def _parts(self) -> tuple[Any, NDArray[np.float16]]:
        """The tokenizer, and the embedding of each piece."""
        model = _read_model()
        if model.digest != self.digest:
            raise EncoderMismatchError(
                f"This index was made with the wordllama embeddings {self.digest[:16]}, but those "
                f"installed are {model.digest[:16]}: install the version it was made with, or "
                "build the index again."
            )
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(model.tokenizer.decode())
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer, _embeddings(model.weights)

    @cached_property
    def _wide_table(self) -> NDArray[np.float32]:
        return self._parts[1].astype(np.float32)

    def _rows(self, texts: Sequence[str]) -> Iterator[NDArray[np.float32] | None]:
        tokenizer = self._parts[0]
        # The same numbers, widened once for many texts or piece by piece for a few.
        table = self._wide_table if len(texts) >= BULK else self._parts[1]
        for some in _together(" ".join(text.split()) for text in texts):
            for text, pieces in zip(
                some, tokenizer.encode_batch_fast(some, add_special_tokens=False), strict=True
            ):
                # Signs have pieces too, and a text of none has one, for its beginning.
                vectors = table[pieces.ids].astype(np.float32, copy=False)
                yield unit(vectors.sum(axis=0)) if WORD.search(text) else None

    def vector(self, value: Any) -> NDArray[np.float32]:
        """One text as a row; warns of one that the embeddings were not made for."""
        row = super().vector(value)
        if not is_in_latin_letters([value]):
            _log.warning(
                "Wordllama's embeddings serve English; answers to a text in other letters than "
                "Latin mean little. An index made with features tfidf serves any language."
            )
        return row

    def to_json(self) -> dict[str, Any]:
        """Which model it is."""
        return {
            "kind": self.kind,
            "format": FORMAT,
            "method": self.method,
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, settings: dict[str, Any], read_array: ArrayReader) -> Self:  # noqa: ARG003
        """The inverse of :meth:`to_json`."""
        digest = settings.get("digest")
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise DamagedIndexError("features.json is damaged: digest names no model.")
        return cls(digest)

    def describe(self) -> str:
        """``"means of wordllama's 256-dimensional word embeddings (English)"``."""
        return f"means of wordllama's {DIMENSIONS}-dimensional word embeddings (English)"


def _together(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in lists that are short enough to be cut into pieces together."""
    some: list[str] = []
    characters = 0
    for text in texts:
        some.append(text)
        characters += len(text)
        if len(some) == AT_A_TIME or characters >= CHARACTERS_AT_A_TIME:
            yield some
            some, characters = [], 0
    if some:
        yield some


def _folder() -> Path | None:
    spec = find_spec("wordllama")
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def _read_model() -> _Model:
    """Read the model's files.

    Raises:
        UsageError: wordllama is not installed, or without its embeddings.
    """
    folder = _folder()
    if folder is None:
        raise UsageError(f"These features need the package wordllama: {REMEDY}.")
    try:
        with (folder / WEIGHTS).open("rb") as file:
            weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        tokenizer = (folder / TOKENIZER).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: the file is empty
        raise UsageError(
            f"The embeddings of wordllama in {folder} cannot be read ({error}); {REMEDY}."
        ) from error
    digest = hashlib.sha256(weights)
    digest.update(tokenizer)
    return _Model(weights, tokenizer, digest.hexdigest())


def _embeddings(weights: mmap.mmap) -> NDArray[np.float16]:
    """The embedding of each piece, ``(pieces, 256)``, a view of a mapped safetensors file.

    Such a file is the length of its header, 8 bytes, the header, JSON, and the arrays.
    """
    start = 8 + int.from_bytes(weights[:8], "little")
    tensor = json.loads(weights[8:start])[TENSOR]
    shape = tuple(tensor["shape"])
    table: NDArray[np.float16] = np.frombuffer(
        weights, "<f2", math.prod(shape), start + tensor["data_offsets"][0]
    )
    return table.reshape(shape)
