"""Which columns of a table become fields of its items, and what these hold."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from hashret.errors import InputError
from hashret.sources.columns import Column, fits, is_number_list, is_picture, number
from hashret.sources.metadata import is_field_name, printable
from hashret.sources.tables import Table

MOST_NAMES = 10_000
"""Beyond so many names, further ones are left out: they are values rather than names."""

_MOST_WARNINGS = 10
_SHOWN = 12
_EXACT_DIGITS = 15
_MOST_DIGITS = 40

_log = logging.getLogger("hashret")


class TableFields:
    """The fields of the items of a table.

    Names that the first records do not have are judged when they are met; those that cannot be kept
    are warned of.

    Args:
        table: the table.
        name: what messages call it.
        keeps_values: whether the column of the values is a field too.

    Attributes:
        shown: the names of the fields that the first records have, and which hold numbers.
        left_out: the names of the other columns of these.
    """

    def __init__(self, table: Table, name: str, *, keeps_values: bool) -> None:
        """Judge the columns of the first records."""
        self._name = name
        self._kept: dict[str, bool] = {}
        self._taken: set[str] = set()
        self._warned = 0
        self._is_full = False
        self._numeric: dict[str, bool] = {}
        self._wide: set[str] = set()
        self.shown: list[str] = []
        self.left_out: list[str] = []
        choice, typed = table.choice, table.reader.typed
        for column, facts in table.found.columns.items():
            if column == choice.id_column or (column in choice.columns and not keeps_values):
                self._kept[column] = False
            else:
                self._note_column(column, facts, typed=typed)

    @property
    def names(self) -> frozenset[str]:
        """The names of all fields that were met."""
        return frozenset(name for name, kept in self._kept.items() if kept)

    def of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a record.

        Raises:
            InputError: one cannot be written as JSON; the message is the reason alone.
        """
        fields = {}
        for name, given in values.items():
            kept = self._kept.get(name)
            if kept is None:
                kept = self._is_kept_too(name)
            if not kept:
                continue
            if type(given) is str:
                if name in self._numeric:
                    given = number(given, decimal_comma=self._numeric[name])
            elif type(given) is not int or name in self._wide or not fits(given):
                if _is_left_out(given):
                    continue
                try:
                    given = plain(given)
                except (TypeError, ValueError, RecursionError) as error:
                    raise InputError(
                        f"what its column {name!r} holds cannot be written as JSON ({error})"
                    ) from error
                if type(given) is int and name in self._wide:
                    given = str(given)
            fields[name] = given
        return fields

    def described(self) -> list[str]:
        """What there is to tell about fields, in parts."""
        return [
            f"{what}: {shortened(names)}"
            for what, names in (("fields", self.shown), ("not kept", self.left_out))
            if names
        ]

    def _note_column(self, name: str, facts: Column, *, typed: bool) -> None:
        nested = set(facts.kinds) and set(facts.kinds) <= {"list", "bytes", "picture"}
        kept = self._is_kept(name)
        shown = printable(name) or "''"
        if nested or not kept:
            self.left_out.append(shown)
            return
        if not typed and facts.numeric:
            self._numeric[name] = facts.decimal_comma
        if facts.wide:
            self._wide.add(name)
        numbers = name in self._numeric or (set(facts.kinds) == {"number"} and not facts.wide)
        self.shown.append(shown + " (numbers)" * numbers)

    def _is_kept(self, name: str) -> bool:
        """Whether a column can be a field: conditions must be able to name it."""
        kept = is_field_name(name) and name.lower() not in self._taken
        self._kept[name] = kept
        if kept:
            self._taken.add(name.lower())
        return kept

    def _is_kept_too(self, name: str) -> bool:
        """Whether a column can be a field that the first records do not have."""
        if len(self._kept) >= MOST_NAMES:
            if not self._is_full:
                self._is_full = True
                _log.warning(
                    "%s has fields of more than %s names: %r and all other new ones are left out. "
                    "If they are values rather than names, write them as such.",
                    self._name,
                    f"{MOST_NAMES:,}",
                    printable(name),
                )
            return False
        kept = self._is_kept(name)
        if not kept and self._warned < _MOST_WARNINGS:
            self._warned += 1
            _log.warning(
                "the field %r of %s, which its first records do not have, is left out: %s.%s",
                printable(name),
                self._name,
                "another differs in capital letters only, which conditions cannot tell apart"
                if is_field_name(name)
                else "conditions cannot name it",
                " Others are not named any more." if self._warned == _MOST_WARNINGS else "",
            )
        return kept


def plain(value: Any) -> Any:
    """A value as a field can hold it.

    What is not finite is missing, what is nested is JSON, and a whole number of more than 64 bits
    is text.

    Raises:
        TypeError: it cannot be written as JSON.
        ValueError: the same.
        RecursionError: the same.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Decimal):
        value = _number_of(value)
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if fits(value) else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, list | dict | tuple):
        try:
            return json.dumps(value, ensure_ascii=False, default=str)
        except TypeError:
            return json.dumps(_with_text_keys(value), ensure_ascii=False, default=str)
    return str(value)


def _number_of(value: Decimal) -> int | float | None:
    """A decimal number as another one; a whole one keeps all its digits."""
    if not value.is_finite():
        return None
    is_long = _EXACT_DIGITS <= value.adjusted() < _MOST_DIGITS
    return int(value) if is_long and value == value.to_integral_value() else float(value)


def _with_text_keys(value: Any) -> Any:
    """A nested value, in which each key that JSON does not know is text."""
    if isinstance(value, dict):
        return {
            key if key is None or isinstance(key, str | int | float) else str(key): (
                _with_text_keys(inner)
            )
            for key, inner in value.items()
        }
    return [_with_text_keys(one) for one in value] if isinstance(value, list | tuple) else value


def _is_left_out(value: Any) -> bool:
    return isinstance(value, bytes | np.ndarray) or is_number_list(value) or is_picture(value)


def shortened(names: list[str]) -> str:
    """Names on one line, of which only the first are told."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
