"""Tables: files of records, of which one column holds the values and one may hold the keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError, UsageError
from hashret.sources.choosing import Choice, choose
from hashret.sources.columns import Survey, is_number_list, is_picture, survey, written_list
from hashret.sources.delimited import CsvReader
from hashret.sources.images import read_image_bytes
from hashret.sources.item import load_pil_image
from hashret.sources.joined import joined, names_in, vector_of
from hashret.sources.json_stream import JsonReader
from hashret.sources.locations import with_options
from hashret.sources.metadata import (
    check_key,
    is_unicode,
    printable,
)
from hashret.sources.parquet import ParquetReader
from hashret.sources.reading import check_encoding
from hashret.sources.records import (
    LINE_COLUMN,
    JsonLineReader,
    LineReader,
    Record,
    RecordReader,
)
from hashret.sources.sqlite_query import SqlReader

FORMATS = ("csv", "tsv", "json", "jsonl", "lines", "parquet", "sqlite")
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "lines",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}
SUFFIXES = tuple(_SUFFIXES)
_NAME = re.compile(r"(.*?)(\.[A-Za-z0-9]+)(\.gz)?", re.DOTALL)
_EXACT = 2**53
"""From here on, a number with a decimal point stands for several whole ones."""


_MOST_UNDECODED = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """How a table is read, where the usual way is not meant.

    Attributes:
        column: the column of the values.
        id_column: the column of the keys; ``""`` for the numbers of the rows.
        sql: the query whose rows are the table, for an SQLite file.
        encoding: of text, such as ``"latin-1"``; UTF-8 otherwise.
        format: one of ``csv tsv json jsonl lines parquet sqlite``, whatever the file's name.
        earlier: which columns were taken of which tables before, as :meth:`taken` says it.
    """

    column: str | None = None
    id_column: str | None = None
    sql: str | None = None
    encoding: str | None = None
    format: str | None = None
    earlier: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def given(self) -> dict[str, str]:
        """What is not the usual way, by name."""
        names = ("column", "id_column", "sql", "encoding", "format")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}

    def as_before(self, location: str) -> Reading:
        """The same, with the columns that were taken of this table before, if none is named.

        What they hold may look otherwise by now, and a guess fall on others.
        """
        before = self.earlier.get(self._table(location), {})
        column = before.get("column") if self.column is None else self.column
        id_column = before.get("id_column") if self.id_column is None else self.id_column
        return replace(self, column=column, id_column=id_column)

    def taken(self, location: str, choice: Choice) -> dict[str, dict[str, str]]:
        """Which columns are taken of this table, to be known at the next time."""
        columns = {"column": choice.named, "id_column": choice.id_column or ""}
        return {self._table(location): columns}

    @property
    def joined_before(self) -> tuple[str, ...]:
        """The columns of numbers that vectors of tables were made of before."""
        every = (names_in(taken.get("column")) for taken in self.earlier.values())
        return next(filter(None, every), ())

    def _table(self, location: str) -> str:
        return with_options(location, {} if self.sql is None else {"sql": self.sql})


def table_format(name: str) -> str | None:
    """What the name of a file says that it holds; None where it is no table.

    Example:
        >>> table_format("docs.JSONL.gz"), table_format("x.npy")
        ('jsonl', None)
    """
    parts = _NAME.fullmatch(name)
    return _SUFFIXES.get(parts[2].lower()) if parts else None


def table_stem(name: str) -> str:
    """The name of a table's file without its suffixes."""
    parts = _NAME.fullmatch(name)
    return parts[1] if parts and parts[1] else name


@dataclass(frozen=True, slots=True)
class Table:
    """A file of records, and which of its columns are what.

    Attributes:
        reader: reads the records.
        choice: the kind and the columns.
        found: what a sample of the records shows.
        folder: where paths of images start from.
    """

    reader: RecordReader
    choice: Choice
    found: Survey
    folder: Path

    def value(self, record: Record) -> Any:
        """The value of a record.

        Raises:
            InputError: it has none, or none of the kind; the message is the reason alone.
        """
        if record.values is None:
            raise InputError(record.problem)
        column, value = self.choice.column, record.values.get(self.choice.column)
        if self.choice.joined:
            return joined(record.values, self.choice.joined, self.found.columns)
        if self.choice.kind == "vectors":
            return self._vector(value)
        if value is None or value == "" or (isinstance(value, str) and value.isspace()):
            raise InputError(f"there is nothing in its column {column!r}")
        if self.choice.kind == "images" and is_picture(value):
            load_pil_image(value)
            return value
        if self.choice.kind == "images" and isinstance(value, bytes):
            return value
        if not isinstance(value, str):
            kind = type(value).__name__
            raise InputError(f"expected text in its column {column!r}, got {kind}")
        if self.choice.kind == "images":
            try:
                return read_image_bytes(self.folder / value)
            except InputError as error:
                raise InputError(f"{printable(value)}: {error}") from error
        if not (value.isascii() or is_unicode(value)):
            raise InputError(f"the text in its column {column!r} is not valid Unicode")
        return value

    def _vector(self, value: Any) -> NDArray[np.float32]:
        column, width = self.choice.column, self.choice.width
        if isinstance(value, str):
            value = written_list(value)
        if not is_number_list(value):
            raise InputError(f"expected a list of numbers in its column {column!r}")
        if len(value) != width:
            raise InputError(
                f"expected {width:,} numbers in its column {column!r}, got {len(value):,}"
            )
        try:
            return vector_of(value)
        except InputError as error:
            raise InputError(f"{error} in the list of its column {column!r}") from None

    def key(self, record: Record) -> str | None:
        """The key of a record, where the table has a column of keys.

        Raises:
            InputError: it has none; the message is the reason alone.
        """
        column = self.choice.id_column
        if column is None or record.values is None:
            return None
        given = record.values.get(column)
        if isinstance(given, np.generic):
            given = given.item()
        if isinstance(given, float) and given.is_integer() and abs(given) < _EXACT:
            given = int(given)  # whole numbers beside missing ones, in Parquet
        if isinstance(given, int) and not isinstance(given, bool):
            given = str(given)
        if given is None or given == "":
            raise InputError(f"there is no key in its column {column!r}")
        try:
            return check_key(given)
        except InputError:
            raise InputError(
                f"its column {column!r} holds no text or whole number that can be a key"
            ) from None


def open_table(
    path: Path,
    kind: str,
    reading: Reading,
    folder: Path | None = None,
    reader: RecordReader | None = None,
) -> Table:
    """Open a file of records, reading the first of them.

    Args:
        path: the file.
        kind: ``"auto"``, ``"text"``, ``"images"`` or ``"vectors"``.
        reading: what :class:`Reading` says.
        folder: where paths of images start from, if not where the file lies.
        reader: reads a table that is no file, which ``path`` then only names.

    Raises:
        InputError: it cannot be read, or has no such column.
        UsageError: an option that does not go with this file.
    """
    form = reading.format or table_format(path.name) or "lines"
    if reader is not None:
        form = "object"
    shown = printable(path.name)
    folder = path.parent if folder is None else folder
    reader = reader or _reader(path, form, reading)
    found = survey(reader)
    if not found.records:
        why = f"; {found.problem}" if found.problem else ""
        raise InputError(f"There is not one record in {shown} that can be read{why}.")
    _check_decoded(found, reading.encoding or "UTF-8", shown)
    column, id_column = reading.column, reading.id_column
    if form == "lines" and column is None:
        column = LINE_COLUMN
    choice = choose(
        found,
        kind,
        column,
        id_column,
        reader.likely_keys,
        name=shown,
        folder=folder,
        joined_before=reading.joined_before,
    )
    return Table(reader, choice, found, folder)


def _check_decoded(found: Survey, encoding: str, shown: str) -> None:
    """Refuse a table of another encoding, of which only lines without accents could be read.

    Raises:
        InputError: too many of the first records are not in the encoding.
    """
    looked_at = found.records + found.undecoded
    if found.undecoded > max(2, _MOST_UNDECODED * looked_at):
        raise InputError(
            f"{found.undecoded:,} of the first {looked_at:,} records of {shown} are not "
            f"{encoding}: --encoding (encoding= in Python) names the encoding of its text, such as "
            "latin-1 or cp1252."
        )


def _reader(path: Path, form: str, reading: Reading) -> RecordReader:
    if form not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, not {form!r}.")
    sql = reading.sql
    if form == "sqlite":
        return SqlReader(path, sql)
    if sql is not None:
        raise UsageError(f"--sql (sql=) is for SQLite files, and {printable(path.name)} is none.")
    if form == "parquet":
        return ParquetReader(path)
    encoding = check_encoding(reading.encoding)
    if form in ("csv", "tsv"):
        return CsvReader(path, encoding, "\t" if form == "tsv" else None)
    readers: dict[str, Callable[[Path, str], RecordReader]] = {
        "json": JsonReader,
        "jsonl": JsonLineReader,
        "lines": LineReader,
    }
    return readers[form](path, encoding)
