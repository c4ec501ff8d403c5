"""The values of a table again, by their positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from hashret.errors import InputError
from hashret.sources.metadata import printable
from hashret.sources.records import Record
from hashret.sources.tables import Reading, open_table


class RecordCursor:
    """Reads single values of a table; those that are asked for in order take one pass.

    Args:
        path: the file.
        options: of its location, see :mod:`hashret.sources.locations`.

    Raises:
        InputError: it is no table any more.
    """

    def __init__(self, path: Path, options: Mapping[str, str]) -> None:
        """Open the table; values are read when they are asked for."""
        self._path = path
        given: dict[str, Any] = {name: text for name, text in options.items() if name != "kind"}
        reading = Reading(**given)
        self._table = open_table(path, options.get("kind", "auto"), reading)
        self._following = 0
        self._records: Iterator[Record] | None = None

    def value(self, position: int) -> Any:
        """The value of the record at a position.

        Raises:
            InputError: there is none that can be used.
        """
        if self._records is None or position < self._following:
            columns = self._table.choice.columns
            self._records = self._table.reader.records(count(position), columns)
        for record in self._records:
            self._following = record.position + 1
            if record.position == position:
                try:
                    return self._table.value(record)
                except InputError as error:
                    raise InputError(f"{record.place} of {self._shown()}: {error}") from error
            if record.position > position:
                self._records = None
                break
        raise InputError(f"{self._shown()} has no record {position}.")

    def _shown(self) -> str:
        return printable(str(self._path))
