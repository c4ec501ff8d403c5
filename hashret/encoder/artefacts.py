"""What a fit leaves behind, in memory and as the three files of an encoder folder."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from hashret.encoder.decoder import Decoder
from hashret.encoder.runtime import Encoder, fingerprint_of
from hashret.errors import DamagedIndexError, InputError, UnknownFormatError
from hashret.files import read_regular, write_durably

ENCODER_FILE = "encoder.tflite"
AUTOENCODER_FILE = "autoencoder.keras"
METADATA_FILE = "encoder.json"
FORMAT = 1
MOST_BYTES = 1 << 31
"""TensorFlow Lite reads no larger model."""

_REMEDY = "Restore the encoder folder from a backup, or learn and index again."


class Artefacts:
    """A trained encoder and autoencoder as the bytes of their files, with their metadata.

    Copies and pickles carry the bytes; what runs them is made when first used.

    Args:
        encoder_file: the bytes of ``encoder.tflite``.
        autoencoder_file: the bytes of ``autoencoder.keras``.
        metadata: JSON values: the hasher's parameters and facts about its training.
    """

    def __init__(
        self, encoder_file: bytes, autoencoder_file: bytes, metadata: dict[str, Any]
    ) -> None:
        """Keep the bytes; nothing is read from them yet."""
        self.encoder_file = encoder_file
        self.autoencoder_file = autoencoder_file
        self.metadata = metadata

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what cannot be copied and is made again on demand."""
        return {
            name: value
            for name, value in vars(self).items()
            if name in ("encoder_file", "autoencoder_file", "metadata")
        }

    @cached_property
    def encoder(self) -> Encoder:
        """Raw features -> codes."""
        return Encoder(self.encoder_file)

    @cached_property
    def decoder(self) -> Decoder:
        """Bits -> raw features.

        Raises:
            DamagedIndexError: hashret has not written the file.
        """
        return Decoder.read(self.autoencoder_file)

    def write(self, folder: Path) -> None:
        """Write the three files, each complete or not at all, the metadata last."""
        folder.mkdir(parents=True, exist_ok=True)
        metadata = {
            "format": FORMAT,
            **self.metadata,
            "fingerprint": fingerprint_of(self.encoder_file),
            "sha256": {
                ENCODER_FILE: hashlib.sha256(self.encoder_file).hexdigest(),
                AUTOENCODER_FILE: hashlib.sha256(self.autoencoder_file).hexdigest(),
            },
        }
        text = json.dumps(metadata, indent=2, sort_keys=True) + "\n"
        write_durably(folder / AUTOENCODER_FILE, self.autoencoder_file)
        write_durably(folder / ENCODER_FILE, self.encoder_file)
        write_durably(folder / METADATA_FILE, text.encode())

    @classmethod
    def read(cls, folder: Path) -> Artefacts:
        """Read an encoder folder.

        Raises:
            DamagedIndexError: a file is missing or is not the one that was written.
        """
        if not folder.is_dir():
            raise InputError(f"There is no folder of a saved hasher at {folder}.")
        metadata = _read_metadata(folder)
        return cls(
            _read_checked(folder / ENCODER_FILE, metadata),
            _read_checked(folder / AUTOENCODER_FILE, metadata),
            {k: v for k, v in metadata.items() if k not in ("format", "fingerprint", "sha256")},
        )


def open_encoder(folder: str | os.PathLike[str]) -> Encoder:
    """Open the encoder of a folder that ``SemanticHasher.save`` wrote, to encode and no more.

    Raises:
        DamagedIndexError: a file is missing or is not the one that was written.
    """
    path = Path(folder)
    return Encoder(_read_checked(path / ENCODER_FILE, _read_metadata(path)))


def _read_metadata(folder: Path) -> dict[str, Any]:
    path = folder / METADATA_FILE
    try:
        metadata = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise DamagedIndexError(f"{path} is not valid JSON ({error}). {_REMEDY}") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("sha256"), dict):
        raise DamagedIndexError(f"{path} does not describe an encoder. {_REMEDY}")
    if metadata.get("format") != FORMAT:
        raise UnknownFormatError(
            str(path),
            metadata.get("format"),
            (FORMAT, FORMAT),
            "Use the version of hashret that wrote it, or learn and index again.",
        )
    return metadata


def _read_checked(path: Path, metadata: dict[str, Any]) -> bytes:
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != metadata["sha256"].get(path.name):
        raise DamagedIndexError(
            f"{path} is not the file that {METADATA_FILE} describes: its SHA-256 differs. {_REMEDY}"
        )
    return content


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MOST_BYTES)
    except OSError as error:
        raise DamagedIndexError(f"{path} cannot be read ({error.strerror}). {_REMEDY}") from error
