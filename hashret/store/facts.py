"""What an index's database tells of the index, beside its items."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError
from hashret.store.items import RESTORE
from hashret.store.own_files import SEGMENT_NAME
from hashret.store.where import indexed_fields

MOST_ROW = 1 << 62
"""More than items are ever added."""


class StoreFacts:
    """Settings, sources, names of fields and segments."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Read the database at ``path`` through an open connection."""
        self.path = path
        self._connection = connection

    # Settings

    def setting(self, name: str) -> Any:
        """A setting's JSON value, or None."""
        found = self._connection.execute(
            "select value from settings where name = ?", [name]
        ).fetchone()
        if found is None:
            return None
        try:
            return json.loads(found[0])
        except (TypeError, ValueError, RecursionError) as error:
            raise self._damaged_setting(name) from error

    def _damaged_setting(self, name: str) -> DamagedIndexError:
        return DamagedIndexError(f"The setting {name!r} in {self.path} is damaged. {RESTORE}")

    def settings(self) -> dict[str, Any]:
        """All settings by name."""
        names = [name for (name,) in self._connection.execute("select name from settings")]
        return {name: self.setting(name) for name in names}

    @property
    def generation(self) -> int:
        """A number that grows with every committed change."""
        number = self.setting("generation") or 0
        if not isinstance(number, int):
            raise self._damaged_setting("generation")
        return number

    @property
    def commit(self) -> str:
        """The name of the state that is shown, which no state of any other copy or index has."""
        return str(self.setting("commit") or self.generation)

    @property
    def vector_length(self) -> int | None:
        """How many values a kept feature row has; None where none are kept."""
        length = self.setting("vector_length")
        if length is not None and (type(length) is not int or length < 1):
            raise self._damaged_setting("vector_length")
        return length

    # Sources and field names

    def sources(self) -> dict[int, str]:
        """The locations of all sources on disk, by number."""
        return dict(self._connection.execute("select id, location from sources order by id"))

    def field_names(self) -> list[str]:
        """The names of all fields that an item was ever given, in alphabetical order."""
        return [name for (name,) in self._connection.execute("select name from fields order by 1")]

    def indexed_fields(self) -> list[str]:
        """The names of the fields on which conditions are fast, in alphabetical order."""
        return indexed_fields(self._connection)

    # Segments

    def segments(self) -> list[tuple[str, int, int]]:
        """Name, first row and last row of every segment, by first row."""
        found = self._connection.execute(
            "select name, first_row, last_row from segments order by first_row"
        ).fetchall()
        if not all(_is_segment(*one) for one in found):
            raise DamagedIndexError(
                f"The list of segments in {self.path} is damaged. `hashret verify --repair` keeps "
                f"every item that is whole. {RESTORE}"
            )
        return found

    def manifest_of(self, segment: str) -> int | None:
        """The CRC-32 of a segment's manifest; None where it was not noted."""
        names = self._connection.execute("select name from pragma_table_info('segments')")
        if ("manifest",) not in names.fetchall():
            return None
        found = self._connection.execute("select manifest from segments where name = ?", [segment])
        (crc32,) = found.fetchone() or (None,)  # in a damaged database, two lists may disagree
        return crc32 if isinstance(crc32, int) else None

    def last_segment_row(self) -> int:
        """The last row that a segment covers; later rows are the tail."""
        found = self._connection.execute("select max(last_row) from segments").fetchone()
        return int(found[0] or 0)

    def deletions(self) -> NDArray[np.int64]:
        """Rows, ascending, that stand in a segment and are no longer items."""
        found = self._connection.execute("select row from deletions order by row").fetchall()
        return np.fromiter((row for (row,) in found), dtype=np.int64, count=len(found))

    def page_count(self) -> int:
        """How many pages the database has."""
        return int(self._connection.execute("pragma page_count").fetchone()[0])

    def free_page_count(self) -> int:
        """How many pages of the database hold nothing."""
        return int(self._connection.execute("pragma freelist_count").fetchone()[0])


def _is_segment(name: object, first_row: object, last_row: object) -> bool:
    """Whether this can be a segment: its name is part of a path, and must lead nowhere else."""
    return (
        isinstance(name, str)
        and SEGMENT_NAME.fullmatch(name) is not None
        and all(type(row) is int and 0 <= row <= MOST_ROW for row in (first_row, last_row))
    )
