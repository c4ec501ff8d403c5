"""Functions of conditions whose own form in SQLite may take hours over two long texts.

SQLite stops a condition between two steps of it only, and a function call is one step.
"""

from __future__ import annotations

import sqlite3
from typing import TypeAlias

_MAX_TRIMMED = 100
_Value: TypeAlias = str | bytes | int | float | None


def give_bounded_functions(connection: sqlite3.Connection) -> None:
    """Let ``instr``, and trimming of given characters, take a time that grows with the texts."""
    functions = {"trim": str.strip, "ltrim": str.lstrip, "rtrim": str.rstrip}
    for name, trim in functions.items():
        connection.create_function(
            name,
            2,
            lambda value, characters, trim=trim: (
                None
                if value is None or characters is None
                else trim(_text(value), _few(_text(characters)))
            ),
            deterministic=True,
        )
    connection.create_function("instr", 2, _instr, deterministic=True)


def _instr(text: _Value, part: _Value) -> int | None:
    if text is None or part is None:
        return None
    if isinstance(text, bytes) and isinstance(part, bytes):
        return text.find(part) + 1
    return _text(text).find(_text(part)) + 1


def _few(characters: str) -> str:
    if len(characters) > _MAX_TRIMMED:
        raise ValueError(characters)  # SQLite says only that the function has failed
    return characters


def _text(value: str | bytes | float) -> str:
    """A value as SQLite writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int):
        return str(value)
    number, exponent, power = f"{value:.15g}".partition("e")
    if number.endswith("inf"):
        return number.capitalize() if value > 0 else "-Inf"
    return number + ("" if "." in number else ".0") + exponent + power
