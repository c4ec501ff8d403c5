"""Files of records, one after the other: what reads them, and lines and JSON lines."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hashret.errors import InputError
from hashret.sources.json_lines import json_object
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.reading import not_decoded, picked, text_lines

LINE_COLUMN = "text"
"""What the only column of a file of lines is called."""


_BLOCK_BITS = 16
_ARRAY = re.compile(r"\s*\[\s*(\{|$)")


class Record(NamedTuple):
    """One record of a file: its values by column, or the reason why it has none."""

    position: int
    place: str
    values: dict[str, Any] | None
    problem: str = ""


class Positions:
    """A set of positions, of which each takes a bit, and those where there are none take nothing.

    Example:
        >>> some = Positions()
        >>> some.add(70_000)
        >>> 70_000 in some, 5 in some, len(some)
        (True, False, 1)
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._blocks: dict[int, bytearray] = {}
        self._count = 0

    def add(self, position: int) -> None:
        """Add one that is not there yet."""
        block = self._blocks.get(position >> _BLOCK_BITS)
        if block is None:
            block = self._blocks[position >> _BLOCK_BITS] = bytearray(1 << (_BLOCK_BITS - 3))
        place = position & ((1 << _BLOCK_BITS) - 1)
        block[place >> 3] |= 1 << (place & 7)
        self._count += 1

    def __contains__(self, position: int) -> bool:
        """Whether it was added."""
        if position >> _BLOCK_BITS not in self._blocks:
            return False
        place = position & ((1 << _BLOCK_BITS) - 1)
        return bool(self._blocks[position >> _BLOCK_BITS][place >> 3] & (1 << (place & 7)))

    def __len__(self) -> int:
        """How many were added."""
        return self._count


class Count(NamedTuple):
    """How many positions a file has, and which of them are empty, in order."""

    positions: int
    empty: Positions | frozenset[int] = frozenset()


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

    def every(self, columns: Collection[str]) -> Iterator[Record | None]:
        """What is at each position, in order: a record with these columns, or None for nothing."""
        return self.records(columns=columns)


class LineReader(RecordReader):
    """A text file, of which each line that is not empty is a record of one column."""

    def __init__(self, path: Path, encoding: str) -> None:
        """Take a file; nothing is read yet."""
        self._path, self._encoding = path, encoding

    def count(self) -> Count:
        """Count the lines."""
        count = 0
        empty = Positions()
        for line in text_lines(self._path, self._encoding):
            if line.isspace():
                empty.add(count)
            count += 1
        return Count(count, empty)

    def records(
        self,
        positions: Iterable[int] | None = None,
        columns: Collection[str] | None = None,  # noqa: ARG002, the contract's name
    ) -> Iterator[Record]:
        """The lines that are not empty."""
        return filter(None, self._at(positions))

    def every(self, columns: Collection[str]) -> Iterator[Record | None]:  # noqa: ARG002, the same
        """All lines, with None for those that are empty."""
        return self._at(None)

    def _at(self, positions: Iterable[int] | None) -> Iterator[Record | None]:
        for position, line in picked(text_lines(self._path, self._encoding), positions):
            if line.isspace():
                yield None
                continue
            place = f"line {position + 1:,}"
            if line.isascii() or is_unicode(line):
                yield self._record(position, place, line)
            else:
                yield Record(position, place, None, not_decoded(self._encoding, line))

    def _record(self, position: int, place: str, line: str) -> Record:
        return Record(position, place, {LINE_COLUMN: line.rstrip("\r\n")})


class JsonLineReader(LineReader):
    """A file of JSON lines: each line that is not empty is an object.

    Raises:
        InputError: it cannot be read, or is an array of objects.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        """Look at the first line."""
        super().__init__(path, encoding)
        head = next((line for line in text_lines(path, encoding) if not line.isspace()), "")
        if _ARRAY.match(head):
            raise InputError(
                f"{printable(str(path))} holds no object a line, but an array of objects: name it "
                '.json, or give --format json (format="json" in Python).'
            )

    def _record(self, position: int, place: str, line: str) -> Record:
        try:
            return Record(position, place, json_object(line))
        except InputError as error:
            return Record(position, place, None, str(error))
