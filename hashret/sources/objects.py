"""Python objects of other libraries as sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hashret.errors import InputError, UsageError
from hashret.sources.arrays import ArraySource
from hashret.sources.item import Source
from hashret.sources.metadata import scalar
from hashret.sources.number_tables import open_numbers
from hashret.sources.object_readers import ListReader, RowReader, reader_of
from hashret.sources.records import RecordReader
from hashret.sources.sparse import SparseRows, is_sparse
from hashret.sources.table_source import TableSource
from hashret.sources.tables import Reading


def open_object(source: Any, kind: str, key_prefix: str, reading: Reading) -> Source | None:
    """Open a table of pandas, pyarrow, polars or datasets, or a Bunch of scikit-learn.

    A table of numbers, without texts, is one of vectors, a row each: see
    :func:`~hashret.sources.number_tables.open_numbers`. Otherwise a column of texts, pictures,
    paths or lists holds the values, as in a table on disk.

    Returns:
        A source without a location; None for what is none of these.

    Raises:
        InputError: it holds nothing that can be used.
        UsageError: an option of files.
    """
    bunch = isinstance(source, Mapping) and "data" in source and type(source).__name__ == "Bunch"
    reader = None if bunch else reader_of(source, reading.id_column, reading.column)
    if not bunch and reader is None:
        return None
    _refuse_files_options(key_prefix, reading)
    if reader is None:
        return _open_bunch(source, kind, key_prefix, reading)
    if reading.column is None and kind in ("auto", "vectors"):
        numbers = open_numbers(source, reader, kind, key_prefix, reading.id_column)
        if numbers is not None:
            return numbers
    if reading.id_column is None:
        reading = replace(reading, id_column=reader.key_column)
    return _open_records(reader, reader.name, kind, key_prefix, reading)


def open_mappings(
    rows: Sequence[Mapping[str, Any]], kind: str, key_prefix: str, reading: Reading
) -> Source:
    """Open a list of mappings, such as objects of JSON, as the rows of a table.

    Raises:
        InputError: no column of it can be used.
        UsageError: an option of files.
    """
    _refuse_files_options(key_prefix, reading)
    reader = RowReader(rows)
    if not reader.columns():
        raise InputError("There is nothing in the mappings: expected names and values.")
    return _open_records(reader, reader.name, kind, key_prefix, reading)


def _refuse_files_options(key_prefix: str, reading: Reading) -> None:
    if "{stem}" in key_prefix:
        raise UsageError("{stem} in key_prefix stands for the name of a file; there is none.")
    for name in ("sql", "format", "encoding"):
        if getattr(reading, name) is not None:
            raise UsageError(f"{name} is for files, not for Python data.")


def _open_records(
    reader: RecordReader, name: str, kind: str, key_prefix: str, reading: Reading
) -> Source:
    return TableSource(
        Path(name),
        None,
        kind,
        Reading(column=reading.column, id_column=reading.id_column),
        key_prefix,
        name,
        Path.cwd(),
        reader,
    )


def _open_bunch(bunch: Mapping[str, Any], kind: str, key_prefix: str, reading: Reading) -> Source:
    """The ``data`` of a Bunch, with its ``target`` as the label, by name where it has names."""
    data, target = bunch["data"], bunch.get("target")
    labels = None
    if target is not None and np.ndim(target) == 1 and len(target) == np.shape(data)[0]:
        labels = _named(np.asarray(target), bunch.get("target_names"))
    if isinstance(data, list) and data and isinstance(data[0], str | bytes):
        columns: dict[str, Sequence[Any]] = {"text": data}
        if labels is not None:
            columns["label"] = labels
        return _open_records(ListReader(columns), ListReader.name, kind, key_prefix, reading)
    if labels is not None and hasattr(data, "assign") and "label" not in data:  # a DataFrame
        data = data.assign(label=labels)
    if (opened := open_object(data, kind, key_prefix, reading)) is None:
        if reading.given():
            raise UsageError("column and id_column are for tables; this Bunch holds an array.")
        rows = SparseRows(data) if is_sparse(data) else np.asarray(data)
        opened = ArraySource(rows, kind, prefix=key_prefix, name="the Bunch", labels=labels)
    return opened


def _named(target: Any, names: Any) -> list[Any]:
    values = target.tolist()
    if names is not None and target.dtype.kind in "iu":
        listed = np.asarray(names).tolist()
        if set(values) <= set(range(len(listed))):
            values = [listed[value] for value in values]
    return [scalar(str(row), "label", value) for row, value in enumerate(values)]
