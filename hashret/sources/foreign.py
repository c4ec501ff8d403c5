"""Values of other libraries as those of Python: what Arrow holds, and wrapped pictures."""

from __future__ import annotations

from typing import Any

_WRAPPED = frozenset({"bytes", "path"})


def arrow_values(column: Any) -> list[Any]:
    """Python values of an Arrow array; what Python has no value for is text, or None.

    Such are nanoseconds where pandas is not there, and dates out of range. Text that is not UTF-8
    has lone surrogates, which are refused by record rather than for all of them.
    """
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):  # Arrow's own errors are ValueErrors
        return [_arrow_value(one) for one in column]
    return values


def _arrow_value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")
    except (ValueError, OverflowError):
        try:
            text = str(scalar.cast("string").as_py())
        except (ValueError, NotImplementedError):  # nested
            return None
        if text.startswith("<"):  # "<value out of range: ...>"
            return None
        return text.replace(" ", "T", 1) if str(scalar.type).startswith("timestamp") else text


def unwrapped_pictures(values: Any) -> Any:
    """Pictures as Hugging Face wraps them, ``{"bytes": ..., "path": ...}``: bytes or path alone."""
    first = next((value for value in values if value is not None), None)
    if not isinstance(first, dict) or set(first) != _WRAPPED:
        return values
    return [unwrapped_picture(value) for value in values]


def unwrapped_picture(value: Any) -> Any:
    """One value, as :func:`unwrapped_pictures` gives it."""
    if isinstance(value, dict) and set(value) == _WRAPPED:
        return value["bytes"] or value["path"]
    return value
