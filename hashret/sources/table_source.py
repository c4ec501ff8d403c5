"""Tables as sources: one column holds the values, one the keys, the others are fields."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hashret.errors import InputError
from hashret.sources.choosing import held
from hashret.sources.delimited import CsvReader
from hashret.sources.headings import data_in_heading
from hashret.sources.item import Item, Source, counted
from hashret.sources.locations import with_options
from hashret.sources.metadata import check_fields, printable
from hashret.sources.records import LineReader, Record, RecordReader
from hashret.sources.skipped import Skipped
from hashret.sources.sqlite_query import SqlReader
from hashret.sources.table_fields import TableFields, shortened
from hashret.sources.table_keys import TableKeys
from hashret.sources.tables import Reading, open_table, table_stem
from hashret.sources.watched import WatchedFile

_CHECKED_EVERY = 256
_MANY_LINES = 1000
"""A row of delimited text that has more lines may have a quotation mark that is not closed."""

_log = logging.getLogger("hashret")


class TableSource(Source):
    """The records of a table.

    A key is the text or whole number in the column of keys, or the number of the record, from 0.
    All columns but those of the keys and the values become fields; so does a column of paths of
    images. Where there is nothing else, columns of numbers together hold the values. In CSV, a
    column whose sampled cells are all numbers holds numbers. Nested values are JSON text; lists of
    numbers and bytes are left out.

    Args:
        path: the file.
        location: its absolute path; None for what came from elsewhere.
        kind: ``"auto"``, ``"text"``, ``"images"`` or ``"vectors"``.
        reading: what :class:`Reading` says.
        key_prefix: what each key begins with; ``{stem}`` stands for the file's name.
        name: what messages call the file, if not by its name.
        folder: where paths of images start from, if not where the file lies.
        reader: reads a table that is no file, which ``path`` then only names.

    Raises:
        InputError: it cannot be read, holds nothing, or has no such column.
        UsageError: an option that does not go with this file.
    """

    has_rows = True

    def __init__(
        self,
        path: Path,
        location: str | None,
        kind: str = "auto",
        reading: Reading | None = None,
        key_prefix: str = "",
        name: str = "",
        folder: Path | None = None,
        reader: RecordReader | None = None,
    ) -> None:
        """Count the records, and read their keys."""
        super().__init__()
        given = reading or Reading()
        if location is not None:
            given = given.as_before(location)
        self._name = name or printable(path.name)
        watched = WatchedFile(path, self._name) if reader is None else None
        self._table = open_table(path, kind, given, folder, reader)
        if isinstance(self._table.reader, SqlReader):
            watched = None  # Others may write to a database: each pass sees one state of it.
        self._check_unchanged = watched.check if watched is not None else lambda: None
        self.kind = self._table.choice.kind
        self.width = self._table.choice.width or None
        found, column = self._table.found.columns, self._table.choice.column
        self._is_path = self.kind == "images" and bool(found[column].paths)
        if location is not None:
            self.root, self.location = location, self._place(location, given)
            self.columns_taken = given.taken(location, self._table.choice)
        self._prefix = key_prefix.replace("{stem}", table_stem(path.name))
        self._keys = TableKeys(self._table, self._prefix)
        self._check_unchanged()
        self._told_unread = False
        self.length = self._keys.length
        if self._table.choice.id_column is None:
            self.row_prefix = self._prefix
        if isinstance(self._table.reader, CsvReader):
            self._check_heading(self._table.reader)
        self._fields = TableFields(self._table, self._name, keeps_values=self._is_path)
        if self._table.reader.columns() is not None:
            self.declared_fields = self._fields.names
        self.empty = len(self._keys.empty)
        self._described()

    def named_keys(self) -> Iterator[str]:
        """The keys of the column of keys, each once."""
        return self._keys.named()

    def holds(self, key: str) -> bool:
        """Whether a record has this key, as far as can be told: not where some cannot be read."""
        if self._keys.holds(key):
            return True
        if self._keys.unread and not self._told_unread:
            self._told_unread = True
            _log.warning(
                "%s may still hold items that were not found in it, for the keys of %s of its "
                "records cannot be read: none of its items is taken for gone. Mend these first.",
                self._name,
                f"{self._keys.unread:,}",
            )
        return self._keys.unread > 0

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        first: dict[str, tuple[int, str]] = {}
        everything = len(positions) == self.length
        for record in self._records(None if everything else positions):
            if record.position >= self.length:
                return  # the file has grown since it was opened
            try:
                item = self._item(record)
                place = (record.position, record.place)
                if (
                    hash(item.key) in self._keys.twice
                    and first.setdefault(item.key, place) != place
                ):
                    raise InputError(
                        f"the key {item.key!r} came before, on {first[item.key][1]}, and only that "
                        "is read: remove it to have this one, or give one of them another key"
                    )
            except InputError as error:
                name = f"{self.root or self._name}#{record.position}"
                self._skipped.append(Skipped(name, f"{record.place}: {error}"))
                continue
            yield item

    def _records(self, positions: Sequence[int] | None) -> Iterator[Record]:
        """Records of the file as it was when it was opened."""
        self._check_unchanged()
        try:
            for number, record in enumerate(self._table.reader.records(positions), start=1):
                if number % _CHECKED_EVERY == 0:
                    self._check_unchanged()
                yield record
        except InputError:
            self._check_unchanged()  # which would be the better reason
            raise
        self._check_unchanged()

    def _item(self, record: Record) -> Item:
        value = self._table.value(record)
        named = self._table.key(record)
        key = self._prefix + (str(record.position) if named is None else named)
        fields = self._fields.of(record.values or {})
        position = None if self.location is None else record.position
        place = record.place
        if self._is_path:
            place += f": {printable(str((record.values or {}).get(self._table.choice.column)))}"
        return Item(key, value, check_fields(key, fields), position, place)

    def _check_heading(self, reader: CsvReader) -> None:
        found = data_in_heading(reader)
        if found is not None:
            _log.warning(
                "the first row of %s names the columns; this one looks like data, as %r does. If "
                "it is, put a row of names above it.",
                self._name,
                found,
            )
        n_lines, line = reader.longest
        if n_lines > _MANY_LINES:
            _log.warning(
                "the row of %s that begins on line %s has %s lines: if a quotation mark in it is "
                "not closed, close it, or double it where it is part of the text.",
                self._name,
                f"{line:,}",
                f"{n_lines:,}",
            )

    def _place(self, location: str, given: Reading) -> str:
        """Where values are found again, with what the file alone does not tell."""
        options = replace(given, column=None, id_column=None).given()
        choice = self._table.choice
        if type(self._table.reader) is not LineReader:
            options["column"] = choice.column
        if choice.joined:
            if choice.id_column is not None:
                options["id_column"] = choice.id_column  # which is no part of the vectors
        elif held(self._table.found.columns[choice.column], self._table.folder) != choice.kind:
            options["kind"] = choice.kind
        return with_options(location, options)

    def _described(self) -> None:
        choice, empty = self._table.choice, self.empty
        wide = f" of {choice.width:,} values" if choice.width else ""
        key = printable(choice.id_column or "row number")
        if choice.no_key is not None:
            key += f", because {printable(choice.no_key)} repeats"
        noun = choice.kind.removesuffix("s")
        held_in = shortened([printable(name) for name in choice.columns])
        notes = [f"{noun}: {held_in}{'; ' if choice.joined else ', '}key: {key}"]
        parts = [", ".join(notes), *self._fields.described()]
        inside = f"; {self._table.reader.note}" if self._table.reader.note else ""
        lines = f"; {empty:,} empty line{'s' * (empty > 1)} left out" if empty else ""
        self.description = (
            f"{counted(self.length - empty, choice.kind)}{wide} from {self._name} "
            f"({'; '.join(parts)}){inside}{lines}"
        )
