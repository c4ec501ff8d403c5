"""Delimited text as records: CSV, TSV and what spreadsheets write."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hashret.errors import InputError
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.reading import MAX_CHARACTERS, not_decoded, picked, text_lines
from hashret.sources.records import Count, Record, RecordReader

MOST_LINES = 1 << 20
"""The most lines of one row, each of which takes memory of its own."""

_AGAIN = 1 << 26
_DELIMITERS = ",\t;|"
_MARK = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
"""The first line by which a spreadsheet tells the delimiter."""
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class Row(NamedTuple):
    """A row of delimited text.

    Attributes:
        line: the number of its first line.
        cells: what it holds; None where it cannot be read.
        problem: why it cannot.
    """

    line: int
    cells: list[str] | None
    problem: str = ""


class CsvReader(RecordReader):
    """A table of delimited text, whose first row names the columns.

    A row that cannot be read, as one with a stray quotation mark, ends with its first line: what
    follows is read as rows of its own.

    Args:
        path: the file.
        encoding: of its text.
        delimiter: between two cells; None finds out from the first row, or from a line such as
            ``sep=;`` above it.

    Attributes:
        longest: of the row of most lines so far, how many these are, and its first one's number.

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
        self.longest = (0, 0)
        first = next(self._rows(), None)
        if first is None:
            raise InputError(f"There is nothing in {printable(str(path))}: it has no first row.")
        if first.cells is None:
            raise InputError(
                f"The first row of {printable(str(path))}, which names the columns, cannot be "
                f"read: {first.problem}."
            )
        self._columns = _distinct(first.cells)

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
        for position, row in picked(rows, positions):
            place, cells = f"line {row.line:,}", row.cells
            if cells is None:
                yield Record(position, place, None, row.problem)
            elif len(cells) != len(names):
                expected = f"{len(names):,} cell{'s' * (len(names) > 1)}"
                reason = f"expected {expected} as in the first row, got {len(cells):,}"
                yield Record(position, place, None, reason)
            elif not all(cell.isascii() or is_unicode(cell) for cell in cells):
                reason = not_decoded(self._encoding, "".join(cells))
                yield Record(position, place, None, reason)
            else:
                values = dict(zip(names, cells, strict=True))
                if columns is not None:
                    values = {name: values[name] for name in columns if name in values}
                yield Record(position, place, values)

    def _rows(self) -> Iterator[Row]:
        """The rows that are not empty, each as it is or with the reason why it cannot be read."""
        whole = islice(text_lines(self._path, self._encoding), self._before, None)
        lines = _RowLines(whole, printable(str(self._path)))
        line = self._before + 1
        while True:
            reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
            try:
                while True:
                    lines.begin_row()
                    row = next(reader)
                    n_lines = len(lines.held)
                    if n_lines > self.longest[0]:
                        self.longest = (n_lines, line)
                    if row:
                        yield Row(line, row)
                    line += n_lines
            except StopIteration:
                return
            except csv.Error as error:
                last = f" on line {line + len(lines.held) - 1:,}" * (len(lines.held) > 1)
                problem = f"it is not CSV: {error}{last}"
                if "end of data" in str(error):
                    problem = "it is not CSV: a quotation mark is not closed"
            except _RowTooLongError:
                problem = (
                    f"it has more than {MAX_CHARACTERS:,} characters or {MOST_LINES:,} lines: is a "
                    "quotation mark not closed?"
                )
            if len(lines.held) > 1:
                problem += f"; line {line + 1:,} and those after it are read as rows of their own"
            lines.go_back(line)
            yield Row(line, None, problem)
            line += 1


class _RowTooLongError(Exception):
    """A row that is not held in memory."""


class _RowLines:
    """Lines of which those that one row took, but its first, can be read again.

    Attributes:
        held: the lines of the row that is being read.
    """

    def __init__(self, lines: Iterator[str], name: str) -> None:
        self.held: list[str] = []
        self._lines, self._name = lines, name
        self._ahead: deque[str] = deque()
        self._size = self._done = self._again = 0

    def begin_row(self) -> None:
        """Let go of the lines of the row before."""
        self._done += self._size
        self._size = 0
        self.held.clear()

    def go_back(self, line: int) -> None:
        """Read on after the first line of the row that could not be read, which is ``line``."""
        self._ahead.extendleft(reversed(self.held[1:]))
        self._done += len(self.held[0])
        self._again += self._size - len(self.held[0])
        self._size = 0
        self.held.clear()
        # Stray quotation marks let every line be read twice; only hostile input does more.
        if self._again > _AGAIN + 4 * self._done:
            raise InputError(
                f"Cannot tell the rows of {self._name} apart: too many of its quotation marks are "
                f"not closed, up to line {line:,}. Close them, or double those that are part of "
                "the text."
            )

    def __iter__(self) -> Iterator[str]:
        while self._ahead:
            line = self._ahead.popleft()
            self._hold(line)
            yield line
        for line in self._lines:
            self._hold(line)
            yield line

    def _hold(self, line: str) -> None:
        self.held.append(line)
        self._size += len(line)
        if self._size > MAX_CHARACTERS or len(self.held) > MOST_LINES:
            raise _RowTooLongError


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
