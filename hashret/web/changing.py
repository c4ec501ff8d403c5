"""Adding items that come in a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    WrapValidator,
    model_validator,
)

from hashret.codes import from_hex
from hashret.index.index import Index
from hashret.web.asking import (
    CODE,
    LIMITS,
    MOST_KEY_CHARACTERS,
    MOST_VALUES,
    check_one_given,
    one_of,
)
from hashret.web.request_values import Pixels, value_of

_VALUES = ("text", "image", "vector", "code")


_Plain = str | int | FiniteFloat | bool | None


def _plain(value: Any, check: Callable[[Any], Any]) -> Any:
    """One message, and not one for each kind that a value is not."""
    try:
        return check(value)
    except ValidationError as error:
        raise ValueError("a field holds text, a number, true, false or null") from error


class NewItem(BaseModel):
    """An item to add, with one of ``text``, ``image``, ``vector`` and ``code``.

    Attributes:
        key: its name.
        text: see :class:`~hashret.web.asking.Query`.
        image: likewise.
        vector: likewise.
        code: hexadecimal; of an index of ready codes.
        fields: texts, numbers, true, false or null by name.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=one_of(*_VALUES))

    key: Annotated[str, Field(min_length=1, max_length=MOST_KEY_CHARACTERS)]
    text: Annotated[str, Field(max_length=LIMITS.text_characters)] | None = None
    image: Annotated[str, Field(max_length=LIMITS.body_bytes)] | None = None
    vector: Annotated[list[FiniteFloat], Field(min_length=1, max_length=MOST_VALUES)] | None = None
    code: Annotated[str, Field(pattern=CODE)] | None = None
    fields: dict[str, Annotated[_Plain, WrapValidator(_plain)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _one_value(cls, given: Any) -> Any:
        if isinstance(given, dict):
            check_one_given(given, *_VALUES)
        return given


class AddRequest(BaseModel):
    """Items to add."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[NewItem], Field(min_length=1, max_length=LIMITS.batch)]


def add(index: Index, items: list[NewItem]) -> dict[str, Any]:
    """Add or update items in one transaction; returns what that did, as JSON values.

    Raises:
        HashretError: as :meth:`hashret.Index.add` does; nothing is added then.
    """
    if index.kind == "codes" or all(item.code is not None for item in items):
        codes = np.stack([from_hex(item.code or "", index.n_bits) for item in items])
        report = index.add_codes(codes, [item.key for item in items], [i.fields for i in items])
    else:
        pixels = Pixels()
        report = index.add([(item.key, _value(index, item, pixels), item.fields) for item in items])
    return {
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "skipped": [{"name": one.name, "reason": one.reason} for one in report.skipped],
    }


def _value(index: Index, item: NewItem, pixels: Pixels) -> Any:
    value = value_of(index, item, pixels)
    return value.astype(np.float32) if isinstance(value, np.ndarray) else value
