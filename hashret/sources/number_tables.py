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
from hashret.sources.choosing import KEY_NAMES, Choice, holds_texts, is_varied
from hashret.sources.columns import Column, Survey, survey
from hashret.sources.item import Item, Source
from hashret.sources.joined import label_of
from hashret.sources.metadata import check_fields, check_key, printable
from hashret.sources.object_readers import ObjectReader
from hashret.sources.skipped import Skipped
from hashret.sources.table_fields import TableFields
from hashret.sources.tables import Table

_log = logging.getLogger("hashret")


class NumbersSource(ArraySource):
    """The rows of a table, of which some columns are the vectors and others fields.

    Args:
        vectors: ``(n, d)``, a row each.
        table: reads the other columns, and says which of them are the keys.
        label: the column that becomes the field ``label``.
        key_prefix: what each key begins with.
    """

    def __init__(
        self, vectors: NDArray[Any], table: Table, label: str | None, key_prefix: str
    ) -> None:
        """Read the keys."""
        reader, key = table.reader, table.choice.id_column
        name = getattr(reader, "name", "the table")
        keys = None if key is None else _keys(reader.records(columns=[key]), key)
        fields = TableFields(table, name, keeps_values=False)
        told = [] if key is None else [f"key: {printable(key)}"]
        told += fields.described()
        told += [] if label in (None, "label") else [f"label: {label}"]
        note = f" ({'; '.join(told)})" if told else ""
        super().__init__(vectors, "vectors", prefix=key_prefix, name=name, keys=keys, note=note)
        self._reader, self._fields, self._label = reader, fields, label
        self._name = name
        self.declared_fields = frozenset(map(self._field_name, fields.names))

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
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
                name = f"{self._name}#{record.position}"
                self._skipped.append(Skipped(name, f"{record.place}: {error}"))

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

    Raises:
        InputError: the column of the keys holds none, or one twice.
    """
    names, found = reader.columns(), survey(reader)
    if id_column and id_column not in names:
        return None
    likely = [name for name in names if name.lower() in KEY_NAMES]
    guessed = reader.index_column or next(iter(likely), None)
    key = guessed if id_column is None else id_column or None
    beside = [name for name in names if name not in {key, reader.index, *likely}]
    label = label_of(beside)
    numbers = [n for n in beside if n != label and set(found.columns[n].kinds) == {"number"}]
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
    vectors = np.stack([_numbers(source[own[n]], reader, n) for n in numbers], axis=1)
    columns = {name: facts for name, facts in found.columns.items() if name not in numbers}
    choice = Choice("vectors", numbers[0], key, len(numbers))
    table = Table(reader, choice, replace(found, columns=columns), Path.cwd())
    return NumbersSource(vectors, table, label, key_prefix)


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


def _numbers(column: Any, reader: ObjectReader, name: str) -> NDArray[Any]:
    """A column of numbers; a missing one is NaN, so that the vector is skipped by name."""
    values = np.asarray(column)
    if values.dtype.kind in "biuf":
        return values
    given = [(record.values or {}).get(name) for record in reader.records(columns=[name])]
    try:
        return np.array([np.nan if value is None else value for value in given], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"Expected numbers in the column {name!r} of {reader.name}, as its first records "
            f"hold: {error}. Make them numbers, or drop the column."
        ) from error


def _keys(records: Iterator[Any], name: str) -> list[str]:
    keys = []
    for record in records:
        value = (record.values or {}).get(name)
        if value is None or isinstance(value, float):
            raise InputError(f"The column {name!r} holds {value!r}, which is no key.")
        keys.append(check_key(str(value)))
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise InputError(f"The key {key!r} comes twice in the column {name!r}.")
        seen.add(key)
    return keys
