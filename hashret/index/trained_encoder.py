"""The trained part of an index: its features, encoder and decoder, and how they came to be."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes, as_codes, check_n_bits, from_hex, unpack
from hashret.encoder.artefacts import ENCODER_FILE, Artefacts
from hashret.encoder.decoder import Decoder
from hashret.encoder.runtime import Encoder, fingerprint_of
from hashret.errors import (
    DamagedIndexError,
    EncoderMismatchError,
    HashretError,
    InputError,
    NoEncoderError,
    UsageError,
)
from hashret.features import Features, ImageFeatures, TextFeatures, features_from_json
from hashret.index.encoding import encode_items
from hashret.progress import ProgressCallback, no_progress
from hashret.sources import SkippedInputs, Source, read_value
from hashret.store import RESTORE, ItemStore

if TYPE_CHECKING:
    from PIL.Image import Image


import hashlib
import io
import json

from hashret.encoder.artefacts import MOST_BYTES
from hashret.files import read_regular

FEATURES_FILE = "features.json"

READY_CODES = "codes"
"""The kind of an index whose codes were made elsewhere: it has no encoder."""


def _is_code_length(n_bits: object) -> bool:
    try:
        check_n_bits(n_bits)
    except UsageError:
        return False
    return True


class TrainedEncoder:
    """What turns values into codes and codes into values, loaded when first needed."""

    def __init__(
        self, folder: Path, *, fingerprint: str, n_bits: int, kind: str, digests: Mapping[str, str]
    ) -> None:
        """Name the encoder's ``folder``, and what it must hold.

        Args:
            folder: the folder ``encoder`` of an index.
            fingerprint: of the encoder that made the codes of the index; empty where it is unknown.
            n_bits: code length in bits.
            kind: what it encodes, ``"images"``, ``"text"`` or ``"vectors"``; ``"codes"`` where
                there is no encoder, and all that needs one raises :class:`NoEncoderError`.
            digests: SHA-256 of each file in the folder, in hexadecimal, by name.
        """
        self.fingerprint = fingerprint
        self.n_bits = n_bits
        self.kind = kind
        self._files = EncoderFiles(folder, digests)

    @classmethod
    def of_index(cls, folder: Path, store: ItemStore) -> Self:
        """The encoder in the ``folder`` of an index, as its store describes it.

        Raises:
            DamagedIndexError: the store's settings make no sense.
        """
        with store.reading(checked=False):  # or it could not be verified
            fingerprint, n_bits = store.setting("encoder"), store.setting("n_bits")
            kind, digests = store.setting("kind"), store.setting("encoder_files")
        if not (_is_code_length(n_bits) and are_digests(digests) and isinstance(kind, str)):
            raise DamagedIndexError(f"The settings in {store.path} are damaged. {RESTORE}")
        return cls(
            folder / "encoder",
            fingerprint=str(fingerprint),
            n_bits=n_bits,
            kind=str(kind),
            digests=digests,
        )

    @cached_property
    def features(self) -> Features:
        """How values become feature rows."""
        self._require()
        return features_from_json(self._files.json(FEATURES_FILE), self._files.array)

    @cached_property
    def runtime(self) -> Encoder:
        """Feature rows -> codes, without TensorFlow.

        Raises:
            EncoderMismatchError: the encoder's file belongs to another index.
        """
        self._require()
        found = fingerprint_of(self._files.unchecked(ENCODER_FILE))
        if found != self.fingerprint:
            raise EncoderMismatchError(
                f"The codes of this index were made by encoder {self.fingerprint}, but "
                f"{self._files.folder / ENCODER_FILE} is encoder {found}: it belongs to another "
                f"index or is damaged. {REMEDY}"
            )
        return Encoder(self._files.read(ENCODER_FILE))

    def encode(self, values: Sequence[Any]) -> Codes:
        """Codes of values (paths, texts, arrays, PIL images), ``uint8``, shape ``(n, n_bits / 8)``.

        Raises:
            InputError: a value cannot be read or has another shape.
        """
        return self.runtime.encode(self.rows(values))

    def rows(self, values: Sequence[Any]) -> NDArray[np.float32]:
        """Feature rows of values, ``float32``, shape ``(n, d)``; otherwise as :meth:`encode`."""
        if not values:
            return np.empty((0, self.features.n_features), dtype=np.float32)
        return np.stack([self._row(value) for value in values])

    def _row(self, value: Any) -> NDArray[np.float32]:
        if self.features.kind == "text" or not isinstance(value, str | PathLike):
            return self.features.vector(value)
        content = read_value(value)
        try:
            return self.features.vector(content)
        except InputError as error:
            raise InputError(f"{os.fsdecode(value)}: {error}") from error

    def encode_source(
        self, source: Source, progress: ProgressCallback = no_progress
    ) -> tuple[list[str], Codes, SkippedInputs]:
        """Keys and codes ``(n, n_bits / 8)`` of a source, and the inputs that were skipped."""
        self.check_kind(source)
        return encode_items(source, self.features, self.runtime, progress)

    def own_code(self, code: ArrayLike | str) -> Codes:
        """Read one code that this encoder could have made.

        Args:
            code: ``uint8``, shape ``(n_bits / 8,)``, or hexadecimal text, which may name the
                encoder that made it: ``fingerprint:code``.

        Returns:
            ``uint8``, shape ``(1, n_bits / 8)``.

        Raises:
            EncoderMismatchError: the code has another length, or names another encoder.
        """
        if isinstance(code, bytes):
            code = np.frombuffer(code, dtype=np.uint8)
        if isinstance(code, str):
            maker, _, digits = code.strip().rpartition(":")
            if maker and maker != self.fingerprint:
                raise EncoderMismatchError(
                    f"The code was made by encoder {maker}, this index has encoder "
                    f"{self.fingerprint}; encode the value again with this index."
                )
            code = from_hex(digits)
        one = as_codes(code)
        if len(one) != 1:
            raise UsageError(f"Expected one code, got {len(one)}.")
        if one.shape[1] * 8 != self.n_bits:
            raise EncoderMismatchError(
                f"The code has {one.shape[1] * 8} bits, this index (encoder {self.fingerprint}) "
                f"has codes of {self.n_bits} bits; encode the value again with this index."
            )
        return one

    def reconstruct(self, codes: ArrayLike) -> NDArray[np.float32]:
        """What the decoder makes of codes ``(n, n_bits / 8)``: ``float32`` feature rows ``(n, d)``.

        :meth:`picture` shows a row of an index of images.

        Raises:
            EncoderMismatchError: the codes have another length.
            DamagedIndexError: the decoder is damaged, or belongs to another encoder.
        """
        packed = as_codes(codes)
        if packed.shape[1] * 8 != self.n_bits:
            raise EncoderMismatchError(
                f"This index has codes of {self.n_bits} bits; got codes of "
                f"{packed.shape[1] * 8} bits. Use codes of this index."
            )
        return self._decoder.decode(unpack(packed).astype(np.float32))

    @cached_property
    def _decoder(self) -> Decoder:
        self._require()
        for name in self._files.names:
            self._files.read(name)
        decoder = Artefacts.read(self._files.folder).decoder
        decoder.require(self.n_bits, self.features.n_features)
        return decoder

    def reconstruction_error(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the bits of feature rows ``(n, d)`` lose of them, ``float64``, shape ``(n,)``.

        See :meth:`hashret.SemanticHasher.reconstruction_error`.
        """
        return self._decoder.reconstruction_errors(rows, self.runtime)

    def picture(self, row: NDArray[np.float32]) -> Image:
        """A feature row ``(d,)`` of an index of images as a PIL image.

        Raises:
            UsageError: the index holds no images.
        """
        if not isinstance(self.features, ImageFeatures):
            raise UsageError(
                f"Only an index of images has pictures; this one holds {self.features.kind}."
            )
        return self.features.picture(row)

    def top_words(self, row: NDArray[np.float32], limit: int = 10) -> list[str]:
        """The words that a feature row ``(d,)`` of an index of texts stands for most.

        Raises:
            UsageError: the index holds no texts, or its features have no words to tell.
        """
        if not isinstance(self.features, TextFeatures):
            raise UsageError(
                f"Only an index of texts has words; this one holds {self.features.kind}."
            )
        return self.features.top_words(row, limit)

    def check_kind(self, source: Source) -> None:
        """Refuse a source of another kind than the index was learned from."""
        if source.kind != self.features.kind:
            raise InputError(
                f"This index holds {self.features.kind}, but the source holds {source.kind}: "
                f"{source.description}."
            )
        for part in source.parts:
            if part.width not in (None, self.features.n_features):
                raise InputError(
                    f"This index was made of vectors of {self.features.n_features:,} values, got "
                    f"{part.width:,} in {part.root or part.location or part.description}: give "
                    "vectors of the same model, or make another index of these."
                )

    def problems(self) -> list[str]:
        """What is wrong with the files, one line each."""
        problems: list[str] = []
        if self.kind == READY_CODES:
            return problems
        for name in self._files.names:
            try:
                self._files.read(name)
            except DamagedIndexError as error:
                problems.append(str(error))
        if not problems:
            try:
                _ = self.features, self.runtime
            except HashretError as error:
                problems.append(str(error))
        return problems

    def describe(self) -> str:
        """A few words on its features, such as ``"28 x 28 grey pixels"``."""
        return "ready codes" if self.kind == READY_CODES else self.features.describe()

    def _require(self) -> None:
        if self.kind == READY_CODES:
            raise NoEncoderError


REMEDY = "Restore the encoder folder from a copy, or build the index again from its sources."


def are_digests(digests: object) -> bool:
    """Whether these are texts by plain names of files, none of which leads elsewhere."""
    return isinstance(digests, dict) and all(
        isinstance(digest, str) and name == Path(name).name for name, digest in digests.items()
    )


class EncoderFiles:
    """The folder ``encoder`` of an index; what is damaged or missing raises and is named.

    Attributes:
        folder: where they are.
        names: those that must be there.
    """

    def __init__(self, folder: Path, digests: Mapping[str, str]) -> None:
        """Name the folder, and the SHA-256 of each file in it, in hexadecimal, by name."""
        self.folder = folder
        self.names = list(digests)
        self._digests = digests

    def unchecked(self, name: str) -> bytes:
        """What a file holds.

        Raises:
            DamagedIndexError: it cannot be read.
        """
        path = self.folder / name
        try:
            return read_regular(path, MOST_BYTES)
        except OSError as error:
            raise DamagedIndexError(
                f"{path} cannot be read ({error.strerror}). {REMEDY}"
            ) from error

    def read(self, name: str) -> bytes:
        """What a file holds.

        Raises:
            DamagedIndexError: it cannot be read, or is not the one the index was made with.
        """
        content = self.unchecked(name)
        if hashlib.sha256(content).hexdigest() != self._digests.get(name):
            raise DamagedIndexError(
                f"{self.folder / name} is not the file the index was made with. {REMEDY}"
            )
        return content

    def json(self, name: str) -> Any:
        """A JSON file; otherwise as :meth:`read`."""
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise DamagedIndexError(
                f"{self.folder / name} is not valid JSON ({error}). {REMEDY}"
            ) from error

    def array(self, name: str) -> NDArray[Any]:
        """A ``.npy`` file; otherwise as :meth:`read`."""
        content = self.read(name)
        try:
            array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DamagedIndexError(
                f"{self.folder / name} is no array ({error}). {REMEDY}"
            ) from error
        return array
