"""A table that comes through standard input."""

from __future__ import annotations

import shutil
import sys
import tempfile
import weakref
from pathlib import Path

from hashret.errors import InputError, UsageError
from hashret.sources.table_source import TableSource
from hashret.sources.tables import Reading


class StandardInput(TableSource):
    """What standard input holds, kept in a temporary file as long as this lasts.

    Paths of images in it start from the current folder. Its items have no location.
    """

    passes = True

    def __init__(self, kind: str, reading: Reading, key_prefix: str) -> None:
        """Read standard input to its end."""
        if sys.stdin is None:
            raise InputError("Standard input is closed: there is nothing to read from it.")
        folder = Path(tempfile.mkdtemp(prefix="hashret-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = folder / "standard-input"
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        except OSError as error:
            raise InputError(
                f"Standard input cannot be kept in {path}: {error.strerror or error}. TMPDIR names "
                "another folder for temporary files."
            ) from error
        if not path.stat().st_size:
            raise InputError(
                "There is nothing on standard input: what was to write to it may have failed."
            )
        try:
            super().__init__(path, None, kind, reading, key_prefix, "standard input", Path.cwd())
        except InputError as error:
            shown = str(error).replace(str(path), "standard input")
            raise InputError(shown.replace(path.name, "standard input")) from error


def open_standard_input(kind: str, reading: Reading, key_prefix: str) -> TableSource:
    """Open the table that comes through standard input.

    Raises:
        UsageError: nothing tells its format.
        InputError: it cannot be used.
    """
    if reading.format is None:
        raise UsageError(
            "What comes through standard input? Give --format (format= in Python): csv, tsv, json, "
            "jsonl or lines."
        )
    if "{stem}" in key_prefix:
        raise UsageError("{stem} in key_prefix stands for the name of a file; there is none.")
    return StandardInput(kind, reading, key_prefix)
