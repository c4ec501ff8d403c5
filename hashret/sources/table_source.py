"""Tables as sources: one column holds the values, one the keys, the others are fields."""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.sources.delimited import CsvReader
from hashret.sources.headings import data_in_heading
from hashret.sources.item import Item, Source
from hashret.sources.locations import with_options
from hashret.sources.metadata import check_fields, printable
from hashret.sources.records import LineReader, Record, RecordReader
from hashret.sources.skipped import Skipped
from hashret.sources.table_fields import TableFields
from hashret.sources.tables import Reading, open_table, table_stem

_MANY_LINES = 1000
"""A row of delimited text that has more lines may have a quotation mark that is not closed."""

_log = logging.getLogger("hashret")


class TableSource(Source):
    """The records of a table.

    A key is the text or whole number in the column of keys, or the number of the record, from 0.
    All columns but those of the keys and the values become fields; so does a column of paths of
    images. In CSV, a column whose sampled cells are all numbers holds numbers. Nested values are
    JSON text; lists of numbers and bytes are left out.

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
        self._table = open_table(path, kind, given, folder, reader)
        self.kind = self._table.choice.kind
        facts = self._table.found.columns[self._table.choice.column]
        self.width = self._table.choice.width or None
        self._is_path = self.kind == "images" and bool(facts.paths)
        if location is not None:
            self.root, self.location = location, self._place(location, given)
            self.columns_taken = given.taken(location, self._table.choice)
        self._prefix = key_prefix.replace("{stem}", table_stem(path.name))
        self.length, self._empty = self._table.reader.count()
        if self._table.choice.id_column is None:
            self.row_prefix = self._prefix
        self._hashes, self._twice = self._read_keys()
        if isinstance(self._table.reader, CsvReader):
            self._check_heading(self._table.reader)
        self._fields = TableFields(self._table, self._name, keeps_values=self._is_path)
        if self._table.reader.columns() is not None:
            self.declared_fields = self._fields.names
        self._described(self.length - len(self._empty), len(self._empty))

    def named_keys(self) -> Iterator[str]:
        """The keys of the column of keys, each once."""
        id_column = self._table.choice.id_column
        if id_column is None:
            return
        seen: set[str] = set()
        for record in self._table.reader.records(columns=[id_column]):
            try:
                key = self._prefix + (self._table.key(record) or "")
            except InputError:
                continue
            if record.values is None or (hash(key) in self._twice and key in seen):
                continue
            if hash(key) in self._twice:
                seen.add(key)
            yield key

    def holds(self, key: str) -> bool:
        """Whether a record has this key, as far as its hash tells."""
        if self.row_prefix is not None:
            row = key.removeprefix(self.row_prefix)
            is_row = key.startswith(self.row_prefix) and row.isdecimal() and len(row) <= 18
            if not is_row or row != str(int(row)) or int(row) >= self.length:
                return False
            place = bisect_left(self._empty, int(row))
            return place == len(self._empty) or self._empty[place] != int(row)
        place = int(np.searchsorted(self._hashes, hash(key)))
        return place < len(self._hashes) and int(self._hashes[place]) == hash(key)

    def _read_keys(self) -> tuple[NDArray[np.int64], frozenset[int]]:
        """The sorted hashes of all keys, eight bytes each, and those that come twice."""
        if self._table.choice.id_column is None:
            return np.empty(0, dtype=np.int64), frozenset()
        hashes = array("q")
        for record in self._table.reader.records(columns=[self._table.choice.id_column]):
            try:
                key = self._table.key(record)
            except InputError:
                continue
            if key is not None:
                hashes.append(hash(self._prefix + key))
        ordered = np.sort(np.frombuffer(hashes, dtype=np.int64)) if hashes else np.empty(0, "q")
        return ordered, frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        first: dict[str, tuple[int, str]] = {}
        everything = len(positions) == self.length
        for record in self._table.reader.records(None if everything else positions):
            if record.position >= self.length:
                return  # the file has grown since it was opened
            try:
                item = self._item(record)
                place = (record.position, record.place)
                if hash(item.key) in self._twice and first.setdefault(item.key, place) != place:
                    raise InputError(
                        f"the key {item.key!r} came before, on {first[item.key][1]}, which is "
                        "kept: remove that one to have this one, or give one of them another key"
                    )
            except InputError as error:
                name = f"{self.root or self._name}#{record.position}"
                self._skipped.append(Skipped(name, f"{record.place}: {error}"))
                continue
            yield item

    def _item(self, record: Record) -> Item:
        value = self._table.value(record)
        named = self._table.key(record)
        key = self._prefix + (str(record.position) if named is None else named)
        fields = self._fields.of(record.values or {})
        position = None if self.location is None else record.position
        return Item(key, value, check_fields(key, fields), position)

    def _check_heading(self, reader: CsvReader) -> None:
        found = data_in_heading(reader)
        if found is not None:
            _log.warning(
                "the first row of %s names the columns; this one looks like data, as %r does. If "
                "it is, put a row of names above it.",
                self._name,
                found,
            )
        if reader.longest.n_lines > _MANY_LINES:
            _log.warning(
                "the row of %s that begins on line %s has %s lines: if a quotation mark in it is "
                "not closed, close it, or double it where it is part of the text.",
                self._name,
                f"{reader.longest.line:,}",
                f"{reader.longest.n_lines:,}",
            )

    def _place(self, location: str, given: Reading) -> str:
        """Where values are found again, with what the file alone does not tell."""
        options = replace(given, column=None, id_column=None).given()
        choice = self._table.choice
        if type(self._table.reader) is not LineReader:
            options["column"] = choice.column
        if self._table.found.columns[choice.column].holds() != choice.kind:
            options["kind"] = choice.kind
        return with_options(location, options)

    def _described(self, count: int, empty: int) -> None:
        choice = self._table.choice
        noun = {"text": "text", "images": "image", "vectors": "vector"}[choice.kind]
        wide = f" of {choice.width:,} values" if choice.width else ""
        key = printable(choice.id_column or "row number")
        if choice.no_key is not None:
            key += f", because {printable(choice.no_key)} repeats"
        notes = [f"{noun}: {printable(choice.column)}", f"key: {key}"]
        parts = [", ".join(notes), *self._fields.described()]
        inside = f"; {self._table.reader.note}" if self._table.reader.note else ""
        lines = f"; {empty:,} empty line{'s' * (empty > 1)} left out" if empty else ""
        self.description = (
            f"{count:,} {noun}{'s' * (count != 1)}{wide} from {self._name} ({'; '.join(parts)}"
            f"){inside}{lines}"
        )
