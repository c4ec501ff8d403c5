"""Single values, read by where they lie: for queries, and for items once more."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from hashret.errors import InputError
from hashret.sources.archive_files import read_member
from hashret.sources.array_files import is_array_name
from hashret.sources.arrays import read_row
from hashret.sources.cursor import RecordCursor
from hashret.sources.images import SUFFIXES, is_image_name, read_image_bytes
from hashret.sources.inside import (
    ARCHIVE_SUFFIXES,
    HDF5_SUFFIXES,
    is_archive_name,
    split_inside,
)
from hashret.sources.locations import shown_location, split_location, with_options
from hashret.sources.metadata import printable
from hashret.sources.paths import path_exists
from hashret.sources.reading import check_encoding
from hashret.sources.remote import check_may_fetch, fetched, is_url
from hashret.sources.sqlite_query import limited_queries
from hashret.sources.tables import table_format
from hashret.sources.text_files import is_readable_text, read_text

STORED_QUERY_SECONDS = 5.0
"""So long the query of a stored location may take for a value: an index may come from anywhere."""

_HOLDING = "|".join(map(re.escape, (*ARCHIVE_SUFFIXES, *HDF5_SUFFIXES, ".npz")))


def read_value(path: str | PathLike[str]) -> Any:
    """Read the one value of a query from a file.

    Args:
        path: an image file, a text file, an array file that holds one value, or one row of an
            array file or table, counted from 0: ``"t10k-images-idx3-ubyte.gz#17"``.

    Returns:
        The bytes of an image file, undecoded, an array, or text.

    Raises:
        InputError: there is no such file or row, or several values and no row is named.
    """
    return ValueReader().read(path)


class ValueReader:
    """Reads values by their locations; rows of one table, asked for in order, in one pass.

    Args:
        stored: the locations are those of stored items, which may come from anywhere: URLs are
            fetched only inside :func:`~hashret.sources.remote.fetching`.
    """

    def __init__(self, *, stored: bool = False) -> None:
        """Nothing is open."""
        self._stored = stored
        self._slow: set[str] = set()
        self._latest: tuple[str, RecordCursor] | None = None

    def read(self, path: str | PathLike[str]) -> Any:
        """Read one value, as :func:`read_value` does."""
        text = fspath(path)
        inside = split_inside(text)
        if inside is not None and is_archive_name(inside.file):
            return read_member(*inside)
        if is_url(text) or inside is not None:
            return self._read_through(text)
        given = Path(path)
        row = encoding = None
        options: Mapping[str, str] = {}
        if (
            locator := re.fullmatch(r"(.+)#([0-9]{1,18})", fspath(path), re.DOTALL)
        ) and not path_exists(given):
            if self._latest is not None and self._latest[0] == locator[1]:
                cursor = self._latest[1]
                return self._record(locator[1], int(locator[2]), lambda: cursor)
            given, row = Path(locator[1]), int(locator[2])
            if not path_exists(given):
                file, options = split_location(locator[1])
                given = Path(file)
        shown = printable(str(given))
        if row is None and not path_exists(given):
            file, options = split_location(text)
            if set(options) == {"encoding"} and is_readable_text(file):
                given, shown, encoding = Path(file), printable(file), options["encoding"]
        if not path_exists(given):
            raise InputError(f"No such file: {shown}")
        if given.is_dir():
            raise InputError(f"Expected one image, text or array file, got the folder {shown}.")
        if not given.is_file():
            # Before it is opened: a pipe would be waited for, and a device may act.
            raise InputError(f"Expected a regular file, got a pipe, a socket or a device: {shown}")
        if locator and row is not None and (options or table_format(given.name)):
            return self._record(locator[1], row, lambda: RecordCursor(given, options))
        if is_array_name(given.name):
            return read_row(given, row)
        if row is not None or not (is_image_name(given.name) or is_readable_text(given.name)):
            raise InputError(
                f"Expected an image ({', '.join(sorted(SUFFIXES))}), a .txt or .md file, an array "
                "file, or one row of it or of a table (vectors.npy#17, docs.csv#17), got "
                f"{shown}."
            )
        try:
            return (
                read_image_bytes(given)
                if is_image_name(given.name)
                else read_text(given, check_encoding(encoding))
            )
        except InputError as error:
            raise InputError(f"Cannot read {shown}: {error}.") from error

    def _record(self, table: str, row: int, opened: Callable[[], RecordCursor]) -> Any:
        """The value of a record of the table that ``opened`` gives, which may take a query.

        The queries of a stored location end after a time, and are then not put again.
        """
        if table in self._slow:
            raise InputError(f"The query of {printable(shown_location(table))} takes too long.")
        started = time.monotonic()
        try:
            with limited_queries(STORED_QUERY_SECONDS if self._stored else None):
                self._latest = (table, opened())
                return self._latest[1].value(row)
        except InputError:
            if self._stored and time.monotonic() - started >= STORED_QUERY_SECONDS:
                self._slow.add(table)
            raise

    def _read_through(self, location: str) -> Any:
        """Read what lies behind a URL, or in a file that holds several arrays."""
        whole, _, digits = location.rpartition("#")
        has_row = bool(whole) and digits.isdecimal() and len(digits) <= 18
        place = whole if has_row else location
        if self._stored and is_url(place):
            check_may_fetch(place)
        row = int(digits) if has_row else None
        inside = split_inside(place)
        if inside is not None:
            return read_row(Path(inside.file), row, inside.name)
        if (member := _inside_url(place)) is not None:
            return self.read(f"{fetched(member[0])}/{member[1]}{f'#{row}' * has_row}")
        place, options = split_location(place)
        local = fetched(place)
        return self.read(f"{with_options(str(local), options)}{f'#{row}' * has_row}")


def _inside_url(url: str) -> tuple[str, str] | None:
    """The URL of a file that holds others, and the name of what is meant in it."""
    found = re.fullmatch(rf"(.+?(?:{_HOLDING}))/(.+)", url, re.DOTALL | re.IGNORECASE)
    return (found[1], found[2]) if found else None
