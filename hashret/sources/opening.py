"""Understand what is given as a source, and read the value of a query."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from hashret.errors import InputError, NoEncoderError, UsageError
from hashret.sources.array_files import is_array_name
from hashret.sources.arrays import open_array, open_array_file, read_row
from hashret.sources.cursor import RecordCursor
from hashret.sources.folders import NoSuchFilesError
from hashret.sources.images import (
    SUFFIXES,
    ImageFile,
    ImageFolder,
    is_image_name,
    read_image_bytes,
)
from hashret.sources.item import Source
from hashret.sources.locations import split_location
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.pairs import PairSource, is_pair
from hashret.sources.several import Several
from hashret.sources.standard_input import open_standard_input
from hashret.sources.table_source import TableSource
from hashret.sources.tables import SUFFIXES as TABLE_SUFFIXES
from hashret.sources.tables import Reading, table_format
from hashret.sources.text_files import (
    TextFile,
    TextFolder,
    is_readable_text,
    is_text_name,
    read_text,
)

KINDS = ("auto", "images", "text", "vectors")
UNDERSTOOD = (
    f"a folder of images or texts, an image ({', '.join(sorted(SUFFIXES))}), an IDX file "
    "(x-idx3-ubyte or x.idx, gzipped or not), .npy or .npz, a table "
    f"({', '.join(TABLE_SUFFIXES)}; text also .gz), or .md"
)


def open_source(
    source: Any,
    kind: str = "auto",
    key_prefix: str = "",
    *,
    column: str | None = None,
    id_column: str | None = None,
    sql: str | None = None,
    encoding: str | None = None,
    format: str | None = None,  # noqa: A002, what users of other libraries look for
) -> Source:
    """Open what a user gives as data.

    Args:
        source: a path, or a list of paths: a folder of images or texts (with its sub-folders, whose
            names become the field ``label``), an image or ``.md`` file, an IDX file (gzipped or
            not; the labels file beside it becomes ``label``), a .npy or .npz file, a table (CSV,
            TSV, JSON, JSON lines, ``.txt`` of one text a line, Parquet, SQLite), or ``"-"``, a
            table on standard input, with its ``format``. Or Python data: an array of
            shape (n, d) of vectors, (n, height, width) or (n, height, width, 1 or 3) of ``uint8``
            images, or an iterable of (key, value) or (key, value, fields). An iterator is read
            into a list at once, because a source is iterated more than once.
        kind: ``"images"``, ``"text"`` or ``"vectors"`` overrule what ``"auto"`` sees.
        key_prefix: what the keys of an array file, array or table begin with, before the number of
            the row or the key in the table; ``{stem}`` stands for the file's name without suffixes.
        column: the column of a table that holds the values; None guesses by names and contents.
        id_column: the column of a table that holds the keys; None guesses by names.
        sql: the query whose rows are the table, for an SQLite file, which is only read.
        encoding: of text files, such as ``"latin-1"``; None for UTF-8.
        format: ``"csv"``, ``"tsv"``, ``"json"``, ``"jsonl"``, ``"lines"``, ``"parquet"`` or
            ``"sqlite"``, whatever the file's name says.

    Returns:
        A source. Arrays are read, and the records of tables counted, before it is iterated.

    Raises:
        InputError: there is no such file, or it cannot be used as the message says.
        UsageError: an unknown ``kind``, a ``key_prefix`` where keys are paths, or options of tables
            for something else.

    Example:
        >>> [item.key for item in open_source([[0.0, 1.0], [2.0, 3.0]])]
        ['0', '1']
    """
    if kind == "codes":
        raise NoEncoderError  # the kind of an index of ready codes, which encodes no source
    if kind not in KINDS:
        raise UsageError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    if not isinstance(key_prefix, str) or not is_unicode(key_prefix):
        raise UsageError(f"key_prefix must be text, got {key_prefix!r}.")
    if re.search(r"[{}]", key_prefix.replace("{stem}", "")):
        raise UsageError(f"key_prefix knows only {{stem}} between braces, got {key_prefix!r}.")
    reading = Reading(column=column, id_column=id_column, sql=sql, encoding=encoding, format=format)
    if isinstance(source, str | PathLike):
        return _open_path(source, kind, key_prefix, reading)
    entries = _entries(source)
    if entries and all(isinstance(entry, str | PathLike) for entry in entries):
        parts = [_open_path(entry, kind, key_prefix, reading) for entry in entries]
        return parts[0] if len(parts) == 1 else Several(parts)
    _refuse_reading(reading, "Python data")
    if hasattr(source, "__array__"):
        return open_array(source, kind, key_prefix)
    if not entries:
        raise InputError("The source is empty: expected paths, rows or (key, value) pairs.")
    if not is_pair(entries[0]):
        return open_array(entries, kind, key_prefix)
    if key_prefix:
        raise UsageError("key_prefix is for row numbers; pairs have keys of their own.")
    return PairSource(entries, kind)


def _entries(source: Any) -> Sequence[Any]:
    """What an iterable gives; nothing of an array, whose rows are not looked at one by one."""
    if hasattr(source, "__array__"):
        return ()
    if isinstance(source, Mapping):
        raise InputError("Expected (key, value) pairs, got a mapping; pass mapping.items().")
    if isinstance(source, bytes | bytearray) or not isinstance(source, Iterable):
        raise InputError(_unknown(source))
    return source if isinstance(source, list | tuple) else list(source)


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
    """Reads values by their locations; rows of one table, asked for in order, in one pass."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._latest: tuple[str, RecordCursor] | None = None

    def read(self, path: str | PathLike[str]) -> Any:
        """Read one value, as :func:`read_value` does."""
        given = Path(path)
        row = None
        options: Mapping[str, str] = {}
        if (
            locator := re.fullmatch(r"(.+)#([0-9]{1,18})", fspath(path), re.DOTALL)
        ) and not _exists(given):
            if self._latest is not None and self._latest[0] == locator[1]:
                return self._latest[1].value(int(locator[2]))
            given, row = Path(locator[1]), int(locator[2])
            if not _exists(given):
                file, options = split_location(locator[1])
                given = Path(file)
        shown = printable(str(given))
        if not _exists(given):
            raise InputError(f"No such file: {shown}")
        if given.is_dir():
            raise InputError(f"Expected one image, text or array file, got the folder {shown}.")
        if locator and row is not None and (options or table_format(given.name)):
            self._latest = (locator[1], RecordCursor(given, options))
            return self._latest[1].value(row)
        if is_array_name(given.name):
            return read_row(given, row)
        if row is not None or not (is_image_name(given.name) or is_readable_text(given.name)):
            raise InputError(
                f"Expected an image ({', '.join(sorted(SUFFIXES))}), a .txt or .md file, an array "
                "file, or one row of it or of a table (images-idx3-ubyte.gz#17, docs.csv#17), got "
                f"{shown}."
            )
        try:
            return read_image_bytes(given) if is_image_name(given.name) else read_text(given)
        except InputError as error:
            raise InputError(f"Cannot read {shown}: {error}.") from error


def _open_path(source: str | PathLike[str], kind: str, key_prefix: str, reading: Reading) -> Source:
    if source == "-":
        return open_standard_input(kind, reading, key_prefix)
    path = Path(source)
    shown = printable(str(path))
    if not str(source) or not _exists(path):
        raise InputError(f"No such file or folder: {shown if str(source) else repr(source)}")
    location = _absolute(path)
    if not is_unicode(location):
        raise InputError(f"The name of {shown} is not valid UTF-8; rename it.")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{shown} is neither a file nor a folder.")
    if path.is_file() and (reading.format or table_format(path.name)):
        return TableSource(path, location, kind, reading, key_prefix)
    encoding = reading.encoding
    if path.is_dir() or is_text_name(path.name):
        reading = replace(reading, encoding=None)
    _refuse_reading(reading, shown)
    if path.is_file() and is_array_name(path.name):
        return open_array_file(path, location, kind, key_prefix)
    if key_prefix:
        raise UsageError(
            f"key_prefix is for array files and tables; in {shown} the keys are paths."
        )
    if path.is_dir():
        return _open_folder(location, kind, shown, encoding)
    if is_text_name(path.name):
        _expect(kind, "text", shown)
        return TextFile(path, location, encoding)
    if is_image_name(path.name):
        _expect(kind, "images", shown)
        return ImageFile(path, location)
    raise InputError(f"Cannot tell what {shown} is. Understood are {UNDERSTOOD}.")


def _open_folder(location: str, kind: str, shown: str, encoding: str | None) -> Source:
    """A folder of images if there is one in it, of texts otherwise."""
    if kind == "text":
        return TextFolder(location, encoding)
    _expect(kind, "images", shown)
    try:
        return ImageFolder(location)
    except NoSuchFilesError as error:
        if kind == "images":
            raise
        try:
            return TextFolder(location, encoding)
        except NoSuchFilesError:
            raise error from None


def _expect(kind: str, held: str, shown: str) -> None:
    if kind not in ("auto", held):
        wanted = "vectors (.npy, .npz or IDX)" if kind == "vectors" else kind
        raise InputError(f"Expected {wanted}, got {held}: {shown}")


def _refuse_reading(reading: Reading, shown: str) -> None:
    given = reading.given()
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(
            f"{flags} ({', '.join(given)} in Python) {'is' if len(given) == 1 else 'are'} for "
            f"tables, not for {shown}."
        )


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(
            f"Cannot read {printable(str(path))}: {(error.strerror or str(error)).lower()}."
        ) from error
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no path: {error}.") from error
    return True


def _absolute(path: Path) -> str:
    """The absolute path, in which a file that is a link keeps its own name and place."""
    resolved = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    return resolved.as_posix()


def _unknown(source: object) -> str:
    return (
        f"Expected a path, an array, or an iterable of (key, value), got {type(source).__name__}; "
        f"a path is {UNDERSTOOD}."
    )
