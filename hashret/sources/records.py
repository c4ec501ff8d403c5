"""Files of records, one after the other: lines, JSON lines and CSV."""

from __future__ import annotations

import csv
import re
from abc import ABC, abstractmethod
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hashret.errors import InputError
from hashret.sources.json_lines import json_object
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.reading import MAX_CHARACTERS, not_decoded, picked, text_lines

LINE_COLUMN = "text"
"""What the only column of a file of lines is called."""

_DELIMITERS = ",\t;|"
_MARK = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
"""The first line by which a spreadsheet tells the delimiter."""
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class Record(NamedTuple):
    """One record of a file: its values by column, or the reason why it has none."""

    position: int
    place: str
    values: dict[str, Any] | None
    problem: str = ""


class Count(NamedTuple):
    """How many positions a file has, and which of them are empty, in order."""

    positions: int
    empty: Sequence[int] = ()


class RecordReader(ABC):
    """A file of records that can be read more than once.

    A position counts every record from 0, whether it can be read or not, so that the same number
    always names the same record.

    Attributes:
        typed: whether values have types of their own; otherwise all are text.
        decimal_comma: whether a comma in a cell may be that of a number.
        likely_keys: columns that hold keys if their values come once each.
        note: what there is to tell about where the records lie.
    """

    typed: ClassVar[bool] = True
    decimal_comma: bool = False
    likely_keys: Sequence[str] = ()
    note: str = ""

    def columns(self) -> list[str] | None:
        """The names of the columns, where the file declares them."""
        return None

    @abstractmethod
    def count(self) -> Count:
        """Count the records, reading as little as possible."""

    @abstractmethod
    def records(
        self, positions: Iterable[int] | None = None, columns: Collection[str] | None = None
    ) -> Iterator[Record]:
        """The records at these ascending positions; None reads all.

        Args:
            positions: of these records.
            columns: the values of these are enough.

        Raises:
            InputError: the file cannot be read, or not any further.
        """


class LineReader(RecordReader):
    """A text file, of which each line that is not empty is a record of one column."""

    def __init__(self, path: Path, encoding: str) -> None:
        """Take a file; nothing is read yet."""
        self._path, self._encoding = path, encoding

    def count(self) -> Count:
        """Count the lines."""
        count = 0
        empty = array("q")
        for line in text_lines(self._path, self._encoding):
            if line.isspace():
                empty.append(count)
            count += 1
        return Count(count, empty)

    def records(
        self,
        positions: Iterable[int] | None = None,
        columns: Collection[str] | None = None,  # noqa: ARG002, the contract's name
    ) -> Iterator[Record]:
        """The lines that are not empty."""
        for position, line in picked(text_lines(self._path, self._encoding), positions):
            if line.isspace():
                continue
            place = f"line {position + 1:,}"
            if line.isascii() or is_unicode(line):
                yield self._record(position, place, line)
            else:
                yield Record(position, place, None, not_decoded(self._encoding, line))

    def _record(self, position: int, place: str, line: str) -> Record:
        return Record(position, place, {LINE_COLUMN: line.rstrip("\r\n")})


class JsonLineReader(LineReader):
    """A file of JSON lines: each line that is not empty is an object."""

    def _record(self, position: int, place: str, line: str) -> Record:
        try:
            return Record(position, place, json_object(line))
        except InputError as error:
            return Record(position, place, None, str(error))


class CsvReader(RecordReader):
    """A table of delimited text, whose first row names the columns.

    Args:
        path: the file.
        encoding: of its text.
        delimiter: between two cells; None finds out from the first row, or from a line such as
            ``sep=;`` above it.

    Raises:
        InputError: it cannot be read, or there is no first row.
    """

    typed = False

    def __init__(self, path: Path, encoding: str, delimiter: str | None = None) -> None:
        """Read the first row."""
        self._path, self._encoding = path, encoding
        # The limit of the csv module is one for the process; a long text is no error here.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CHARACTERS))
        head = next((line for line in text_lines(path, encoding) if not line.isspace()), "")
        mark = _MARK.fullmatch(next(text_lines(path, encoding), ""))
        self._before = 1 if mark else 0
        self._delimiter = delimiter or (mark[1] if mark else _sniffed(head))
        self.decimal_comma = self._delimiter != ","
        first = next(self._rows(), None)
        if first is None:
            raise InputError(f"There is nothing in {printable(str(path))}: it has no first row.")
        if isinstance(first[1], str):
            raise InputError(
                f"The first row of {printable(str(path))}, which names the columns, cannot be "
                f"read: {first[1]}."
            )
        self._columns = _distinct(first[1])

    def columns(self) -> list[str]:
        """The names in the first row; a name that comes again has a number."""
        return self._columns

    def count(self) -> Count:
        """Count the rows below the first one; empty ones are none."""
        return Count(sum(1 for _ in self._rows()) - 1)

    def records(
        self, positions: Iterable[int] | None = None, columns: Collection[str] | None = None
    ) -> Iterator[Record]:
        """The rows as records; those of another length than the first one are none."""
        names = self._columns
        rows = self._rows()
        next(rows, None)
        for position, (line, row) in picked(rows, positions):
            place = f"line {line:,}"
            if isinstance(row, str):
                yield Record(position, place, None, row)
            elif len(row) != len(names):
                cells = f"{len(names):,} cell{'s' * (len(names) > 1)}"
                reason = f"expected {cells} as in the first row, got {len(row):,}"
                yield Record(position, place, None, reason)
            elif not all(cell.isascii() or is_unicode(cell) for cell in row):
                reason = not_decoded(self._encoding, "".join(row))
                yield Record(position, place, None, reason)
            else:
                values = dict(zip(names, row, strict=True))
                if columns is not None:
                    values = {name: values[name] for name in columns if name in values}
                yield Record(position, place, values)

    def _rows(self) -> Iterator[tuple[int, list[str] | str]]:
        """The number of its first line and the cells of each row, or why it cannot be read."""
        lines = islice(text_lines(self._path, self._encoding), self._before, None)
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        while True:
            line = self._before + reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "end of data" in str(error) or "field limit" in str(error):
                    raise InputError(
                        f"The row that begins on line {line:,} of {printable(str(self._path))} "
                        f"does not end, or has a cell of more than {MAX_CHARACTERS:,} characters: "
                        "is a quotation mark not closed? Close it, or double it where it is part "
                        "of the text."
                    ) from error
                yield line, f"it is not CSV: {error}"
                continue
            if row:
                yield line, row


def _sniffed(head: str) -> str:
    """The delimiter of a first row: the most frequent one outside of quotation marks."""
    bare = _QUOTED.sub("", head)
    return max(_DELIMITERS, key=bare.count)


def _distinct(names: list[str]) -> list[str]:
    """Names of columns, with a number after those that were there before."""
    seen: set[str] = set()
    distinct = []
    for name in (name.strip() for name in names):
        number, candidate = 1, name
        while candidate in seen:
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate)
        distinct.append(candidate)
    return distinct
