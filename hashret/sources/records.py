"""Files of records, one after the other: what reads them, and lines and JSON lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hashret.errors import InputError
from hashret.sources.json_lines import json_object
from hashret.sources.metadata import is_unicode
from hashret.sources.reading import not_decoded, picked, text_lines

LINE_COLUMN = "text"
"""What the only column of a file of lines is called."""


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
