"""Columns of numbers that together are the values of a table: a vector a row."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.sources.columns import Column, Survey, is_missing, number

JOINED = "*"
"""What the columns of numbers together are called, as if they were one."""

LABEL_NAMES = ("label", "labels", "target", "class", "y")
"""Columns that are no part of a vector; the first that is there is its label."""

ROW_NAMES = ("", "index", "level_0", "unnamed: 0", "__index_level_0__")
"""What the numbers of the rows are called where a DataFrame was written with them."""

_SHOWN = 40
_UNUSUAL = re.compile(r"_|(?:^|,)\s*(?:\+|-?0[0-9])")
"""In numbers as Python may read them, but :func:`~hashret.sources.columns.number` does not."""
_LARGEST = float(np.finfo(np.float32).max)


def numeric_columns(found: Survey, apart: Sequence[str]) -> tuple[str, ...]:
    """The columns of numbers but the label, the numbers of rows, and those apart.

    Args:
        found: what the columns hold.
        apart: names, such as those of keys.
    """
    left = {*ROW_NAMES, *(name.lower() for name in apart)}
    left.update(name.lower() for name in labels_of(found.columns))
    return tuple(
        name
        for name, facts in found.columns.items()
        if facts.mostly_numbers and name.lower() not in left
    )


def labels_of(names: Iterable[str]) -> list[str]:
    """The columns that label vectors, by their names; y beside x is a coordinate and no label."""
    called: dict[str, str] = {}
    for name in names:
        called.setdefault(name.lower(), name)
    if "x" in called:
        called.pop("y", None)
    return [called[name] for name in LABEL_NAMES if name in called]


def label_of(names: Iterable[str]) -> str | None:
    """The first of the columns that label vectors."""
    return next(iter(labels_of(names)), None)


def names_in(column: str | None) -> tuple[str, ...]:
    """The columns that are named together, as a JSON list; none where one is named, or all are.

    Example:
        >>> names_in('["a", "b"]'), names_in("a"), names_in("*")
        (('a', 'b'), (), ())
    """
    if column is None or column[:1] != "[":
        return ()
    try:
        names = json.loads(column)
    except ValueError:
        return ()
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list else ()


def as_names(names: Sequence[str]) -> str:
    """The inverse of :func:`names_in`."""
    return json.dumps(list(names), ensure_ascii=False)


def joined(
    values: Mapping[str, Any], names: Sequence[str], columns: Mapping[str, Column]
) -> NDArray[np.float32]:
    """The numbers of a record as one vector ``(d,)``.

    Args:
        values: of the record.
        names: the columns, in order.
        columns: what they hold.

    Raises:
        InputError: one holds no number; the message is the reason alone.
    """
    try:
        cells = [values[name] for name in names]
        # Most are numbers, or written as Python writes them; a look at each would take much longer.
        text = ",".join(cell for cell in cells if type(cell) is str)
        if {type(cell) for cell in cells} <= {int, float, str} and not (
            _UNUSUAL.search(text) or any(columns[name].decimal_comma for name in names)
        ):
            vector = np.array([float(cell) for cell in cells])
            if (np.abs(vector) <= _LARGEST).all():
                return vector.astype(np.float32)
    except (KeyError, ValueError, OverflowError):
        pass
    numbers = [_number(values.get(name), name, columns[name]) for name in names]
    return np.array(numbers, dtype=np.float32)


def vector_of(values: list[Any] | NDArray[Any]) -> NDArray[np.float32]:
    """The numbers of a list as a vector ``(d,)``.

    Raises:
        InputError: something in it is no number, or too large; the message is the reason alone.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind not in "iuf":
        values = values.tolist()
    if not isinstance(values, np.ndarray):
        # NumPy would take text and booleans for numbers.
        for value in values if set(map(type, values)) - {int, float} else ():
            if isinstance(value, bool) or not isinstance(value, Real):
                got = f"{value!r}" if len(repr(value)) <= _SHOWN else f"a {type(value).__name__}"
                raise InputError(f"expected only numbers, got {got},")
    try:
        with np.errstate(over="ignore"):
            wide = np.asarray(values, dtype=np.float64)
            vector = wide.astype(np.float32)
    except OverflowError:
        raise InputError("a number is too large") from None
    if not np.isfinite(wide).all():
        raise InputError("a number is not finite")
    if not np.isfinite(vector).all():
        raise InputError("a number is too large")
    return vector


def _number(value: Any, name: str, facts: Column) -> float:
    if isinstance(value, str) and not is_missing(value):
        value = number(value, decimal_comma=facts.decimal_comma)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value == "" or (isinstance(value, str) and is_missing(value)):
        raise InputError(f"there is no number in its column {name!r}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"expected a number in its column {name!r}, got {value!r}")
    if not -_LARGEST <= value <= _LARGEST:
        what = "too large" if isinstance(value, int) or math.isfinite(value) else "not finite"
        raise InputError(f"the number in its column {name!r} is {what}")
    return float(value)
