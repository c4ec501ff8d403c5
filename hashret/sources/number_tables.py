"""Tables in memory whose columns of numbers together are vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.sources.arrays import ArraySource
from hashret.sources.choosing import KEY_NAMES, Choice, holds_texts, is_varied, key_column
from hashret.sources.columns import Column, Survey, number, survey
from hashret.sources.item import Item, Source
from hashret.sources.joined import JOINED, ROW_NAMES, label_of
from hashret.sources.metadata import check_fields, printable
from hashret.sources.object_table import ObjectReader
from hashret.sources.skipped import Skipped
from hashret.sources.table_fields import TableFields
from hashret.sources.tables import Table

_SHOWN = 40

_log = logging.getLogger("hashret")


class NumbersSource(ArraySource):
    """The rows of a table, of which some columns are the vectors and others fields.

    A row without a key, with one that came before, or with a cell that is no number, is skipped by
    name.

    Args:
        vectors: ``(n, d)``, a row each.
        table: reads the other columns, and says which of them are the keys.
        label: the column that becomes the field ``label``.
        key_prefix: what each key begins with.
        problems: why rows cannot be used, by their numbers.
    """

    def __init__(
        self,
        vectors: NDArray[Any],
        table: Table,
        label: str | None,
        key_prefix: str,
        problems: dict[int, str],
    ) -> None:
        """Read the keys."""
        reader, key = table.reader, table.choice.id_column
        name = getattr(reader, "name", "the table")
        self._problems = dict(problems)
        self._told_unread = False
        keys, self._n_unread = (None, 0) if key is None else _keys(table, self._problems)
        fields = TableFields(table, name, keeps_values=False)
        if label is not None:
            shown = printable(label)
            plain = {shown: "label", f"{shown} (numbers)": "label (numbers)"}
            fields.shown = [plain.get(one, one) for one in fields.shown]
        told = [] if key is None else [f"key: {printable(key)}"]
        told += fields.described()
        told += [] if label in (None, "label") else [f"label: {label}"]
        note = f" ({'; '.join(told)})" if told else ""
        super().__init__(vectors, "vectors", prefix=key_prefix, name=name, keys=keys, note=note)
        self._reader, self._fields, self._label = reader, fields, label
        self._name = name
        self.declared_fields = frozenset(map(self._field_name, fields.names))

    def named_keys(self) -> list[str]:
        """The keys of the column of keys, each once."""
        return [self.prefix + key for key in dict.fromkeys(self._keys or ()) if key]

    def holds(self, key: str) -> bool:
        """Whether a row has this key, as far as can be told: not where some cannot be read."""
        if super().holds(key):
            return True
        if self._n_unread and not self._told_unread:
            self._told_unread = True
            _log.warning(
                "%s may still hold items that were not found in it, for the keys of %s of its rows "
                "cannot be read: none of its items is taken for gone. Mend these first.",
                self._name,
                f"{self._n_unread:,}",
            )
        return self._n_unread > 0

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        if self._problems:
            for position in positions:
                if position in self._problems:
                    self._skip(position, f"row {position:,}", self._problems[position])
            positions = [one for one in positions if one not in self._problems]
        if not self._fields.names:
            yield from super()._items(positions)
            return
        records = self._reader.records(positions, columns=self._fields.names)
        for item, record in zip(super()._items(positions), records, strict=True):
            try:
                if record.values is None:
                    raise InputError(record.problem)
                given = self._fields.of(record.values)
                fields = {self._field_name(name): value for name, value in given.items()}
                yield Item(item.key, item.value, check_fields(item.key, fields))
            except InputError as error:
                self._skip(record.position, record.place, str(error))

    def _skip(self, position: int, place: str, reason: str) -> None:
        self._skipped.append(Skipped(f"{self._name}#{position}", f"{place}: {reason}"))

    def _field_name(self, column: str) -> str:
        return "label" if column == self._label else column


def open_numbers(
    source: Any, reader: ObjectReader, kind: str, key_prefix: str, id_column: str | None
) -> Source | None:
    """Open a table whose columns of numbers are the vectors, and whose other columns are fields.

    It is one where at least two columns beside keys and a label hold numbers, and none holds
    pictures, paths of images, lists of numbers or texts. With the kind ``"vectors"``, only lists of
    numbers come before columns of numbers.

    Args:
        source: the table.
        reader: of it.
        kind: ``"auto"`` or ``"vectors"``.
        key_prefix: what each key begins with.
        id_column: the column of the keys, ``""`` for the numbers of the rows, None to guess.

    Returns:
        None for a table of another kind.

    """
    names, found = reader.columns(), survey(reader)
    if id_column and id_column not in names:
        return None
    likely = [name for name in names if name.lower() in KEY_NAMES]
    if id_column is None:
        id_column = reader.key_column
    key = key_column(found, JOINED, reader.likely_keys) if id_column is None else id_column or None
    apart = {key, reader.index, *likely}
    beside = [name for name in names if name not in apart]
    label = label_of(beside)
    numbers = [
        name
        for name in beside
        if name != label and name.lower() not in ROW_NAMES and _is_numbers(found.columns[name])
    ]
    others = {n: found.columns[n] for n in beside if n not in numbers and n != label}
    held = {facts.holds() for facts in others.values()}
    if kind == "vectors":
        if not numbers or "vectors" in held:
            return None
    elif (
        len(numbers) < 2
        or held & {"images", "vectors"}
        or any(holds_texts(found, name, len(numbers)) for name in others)
    ):
        return None
    else:
        _warn_of_names(reader, found, others)
    own_names = getattr(source, "column_names", None) or source.columns
    own = {str(name): name for name in own_names}
    problems: dict[int, str] = {}
    vectors = np.stack([_numbers(source[own[n]], reader, n, problems) for n in numbers], axis=1)
    columns = {name: facts for name, facts in found.columns.items() if name not in numbers}
    choice = Choice("vectors", numbers[0], key, len(numbers))
    table = Table(reader, choice, replace(found, columns=columns), Path.cwd())
    return NumbersSource(vectors, table, label, key_prefix, problems)


def _warn_of_names(reader: ObjectReader, found: Survey, columns: dict[str, Column]) -> None:
    """Tell of texts that become a field, for nothing else tells what was understood."""
    texts = [name for name, facts in columns.items() if facts.holds() == "text" and facts.words]
    varied = next((name for name in texts if is_varied(found, name)), None)
    if varied is not None:
        _log.warning(
            "the columns of numbers of %s are its vectors, and %r is a field: column=%r makes an "
            "index of these texts.",
            reader.name,
            varied,
            varied,
        )


def _is_numbers(facts: Column) -> bool:
    """Whether a column holds numbers, but for some cells."""
    count = facts.kinds["number"]
    return count > 0 and 10 * count >= 9 * facts.kinds.total()


def _numbers(
    column: Any, reader: ObjectReader, name: str, problems: dict[int, str]
) -> NDArray[Any]:
    """A column of numbers; a missing one is NaN, and so is what is none, and is noted."""
    values = np.asarray(column)
    if values.dtype.kind in "biuf":
        return values
    numbers = np.full(len(values), np.nan)
    for record in reader.records(columns=[name]):
        given = (record.values or {}).get(name)
        if isinstance(given, str):
            given = number(given)
        try:
            if isinstance(given, str | bool):
                raise TypeError
            if given is not None:
                numbers[record.position] = given
        except OverflowError:
            problems[record.position] = f"the number in its column {name!r} is too large"
        except (TypeError, ValueError):
            shown = printable(repr(given)[:_SHOWN])
            problems[record.position] = f"expected a number in its column {name!r}, got {shown}"
    return numbers


def _keys(table: Table, problems: dict[int, str]) -> tuple[list[str], int]:
    """The keys of all records, empty where there is none, and how many cannot be read.

    These are noted, and so are those that came before.
    """
    keys: list[str] = []
    first: dict[str, str] = {}
    n_unread = 0
    for record in table.reader.records(columns=[table.choice.id_column or ""]):
        key = ""
        try:
            if record.values is None:
                raise InputError(record.problem)
            key = table.key(record) or ""
        except InputError as error:
            problems[record.position] = str(error)
            n_unread += 1
        keys.append(key)
        if record.position not in problems and first.setdefault(key, record.place) != record.place:
            problems[record.position] = (
                f"the key {key!r} came before, on {first[key]}, and only that is read: remove it "
                "to have this one, or give one of them another key"
            )
    return keys, n_unread
