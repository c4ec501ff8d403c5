"""Keys and fields: text that can be stored, values that can be written as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from hashret.errors import InputError

RESERVED = ("key", "row")
"""What a condition calls an item's own key and row; no field can have these names."""


def is_unicode(text: str) -> bool:
    """Whether text can be written as UTF-8, which a file name of other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    r"""Text on one line, with control characters and bytes that are not UTF-8 written as ``\n``."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def check_key(key: object) -> str:
    """Return a key that a user gave, when it is text.

    Raises:
        InputError: it is not text, is empty, or holds no valid Unicode.
    """
    if not isinstance(key, str):
        raise InputError(
            f"A key must be text, got {key!r} of type {type(key).__name__}; str(key) makes it text."
        )
    if not key or not is_unicode(key) or "\0" in key:
        raise InputError(
            f"A key must be text of at least one valid character, none of them null, got {key!r}."
        )
    return str(key)


def are_plain(fields: Mapping[str, Any]) -> bool:
    """Whether fields can be stored as they are, as most can, without a look at each by itself."""
    for name, value in fields.items():
        kind = type(value)
        if not (
            (kind is str and value.isascii())
            or (kind is int and -(2**63) <= value < 2**63)
            or (kind is float and math.isfinite(value))
            or kind is bool
            or value is None
        ) or not is_field_name(name):
            return False
    return True


def check_fields(key: str, fields: object) -> dict[str, Any]:
    """Return the fields of an item as plain Python scalars.

    Args:
        key: the item's key, for the message.
        fields: a mapping of names to text, numbers, booleans or None; NumPy scalars are converted.

    Raises:
        InputError: it is no mapping, or a name or value cannot be written as JSON.
    """
    if not isinstance(fields, Mapping):
        raise InputError(
            f"The fields of {key!r} must be a mapping of names to values, got "
            f"{type(fields).__name__}."
        )
    return {
        name if is_field_name(name) else _refuse_name(key, name): (
            # Most are short: those that need no look are passed by.
            value if type(value) is str and value.isascii() else scalar(key, name, value)
        )
        for name, value in fields.items()
    }


def scalar(key: str, name: str, value: Any) -> str | int | float | bool | None:
    """Return the value of one field as a plain Python scalar.

    Raises:
        InputError: it is something else, or not finite, or not valid Unicode.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(
            f"Field {name!r} of {key!r} is {value}, which JSON does not know; use None for a "
            "missing value."
        )
    if isinstance(value, str) and not is_unicode(value):
        raise InputError(f"Field {name!r} of {key!r} is not valid Unicode text: {value!r}.")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InputError(f"Field {name!r} of {key!r} is a whole number of more than 64 bits.")
    if value is None or isinstance(value, str | int | float):
        return value
    raise InputError(
        f"Field {name!r} of {key!r} must be text, a number, a boolean or None, got "
        f"{type(value).__name__}."
    )


@lru_cache(maxsize=1024)
def is_field_name(name: object) -> bool:
    """Whether a field can have this name, so that conditions can use it."""
    return (
        type(name) is str
        and name.isprintable()
        and not set(name) & set('"\\')
        and name.lower() not in ("", *RESERVED)
    )


def _refuse_name(key: str, name: object) -> str:
    if isinstance(name, str) and name.lower() in RESERVED:
        raise InputError(
            f"A field of {key!r} is named {name!r}, which conditions need for the item's own; give "
            "it another name."
        )
    raise InputError(
        f"The fields of {key!r} must be named by printable text without quotation marks and "
        f"backslashes, got {name!r}."
    )
