"""The files of an index's encoder, read and compared with their checksums."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.encoder.artefacts import MOST_BYTES
from hashret.errors import DamagedIndexError
from hashret.files import read_regular

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
