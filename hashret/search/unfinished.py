"""The state of files that are being written, from which an interrupted build goes on."""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import IndexLockedError, InputError
from hashret.files import write_durably
from hashret.search.array_file import ArrayFile
from hashret.search.segment_files import MANIFEST
from hashret.search.threads import in_threads, slices

_BLOCK = 1 << 20


class Unfinished:
    """A folder of files that grow, and the note of how far they are.

    The note lies where the manifest of the finished files will be.

    Attributes:
        files: :meth:`ArrayFile.state` of each file, by the name of the file, as it was noted.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        """Read the note of a folder; without one, or if it does not hold, nothing is finished.

        Args:
            folder: where the files are.
            facts: JSON that tells what they are made of.

        Raises:
            InputError: they were made of something else.
        """
        self.folder = folder
        self.files: dict[str, dict[str, Any]] = {}
        self._facts = facts
        try:
            note = json.loads((folder / MANIFEST).read_bytes())
            made_of, files = note["input"], dict(note["files"])
            whole = all((folder / name).stat().st_size >= files[name]["bytes"] for name in files)
        except (OSError, ValueError, TypeError, KeyError):
            return
        if made_of != facts:
            raise InputError(
                f"{folder} holds the unfinished search files of other codes or rows: build with "
                "those, or delete the folder."
            )
        if whole:
            self.files = files

    def save(self, files: Iterable[ArrayFile]) -> None:
        """Flush files and note how far they are.

        Raises:
            OSError: that cannot be written.
        """
        states = {}
        for file in files:
            file.flush()
            states[file.path.name] = file.state()
        note = {"input": self._facts, "files": states}
        write_durably(self.folder / MANIFEST, json.dumps(note).encode())


def folder_beside(path: Path) -> Path:
    """The hidden folder in which the files for ``path`` wait to be finished."""
    return path.with_name(f".{path.name}.building")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from working in a folder.

    Raises:
        IndexLockedError: one does already.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise IndexLockedError(
                f"Another process is building search files in {folder}: wait until it is done."
            ) from error
        yield
    finally:
        os.close(descriptor)


def checksum(codes: Codes, rows: NDArray[Any] | None) -> int:
    """A checksum of all codes and rows."""

    def of_block(own: slice) -> int:
        found = zlib.crc32(codes[own].data)
        return found if rows is None else zlib.crc32(np.ascontiguousarray(rows[own]).data, found)

    return zlib.crc32(repr(in_threads(of_block, slices(len(codes), _BLOCK))).encode())
