"""What the address of the search page holds: the query, the bits that are flipped, the cut."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from hashret.codes import flip, to_hex
from hashret.errors import UsageError
from hashret.index.index import Index
from hashret.index.result import Result
from hashret.store.where import without_remarks
from hashret.web.asking import QueryRequest, ask
from hashret.web.forms import form_query
from hashret.web.problems import Problem
from hashret.web.request_values import value_of

QUERIES = ("text", "key", "code", "vector")
CUTS = ("radius", "limit", "where", "order", "rerank")
DEFAULT_LIMIT = 48
_MOST_FLIPS = 1024
_MOST_CONDITION = 200
_MOST_VALUE = 40
"""What is longer is hardly the value of another item too."""


class SearchState:
    """The state of a search page, from its address and back to one.

    Attributes:
        query: at most one of text, key, code and vector, by name.
        cut: those of radius, limit, where, order and rerank that were given.
        flips: bits of the query's code that are flipped before the search, ascending.
    """

    def __init__(self, query: dict[str, str], cut: dict[str, str], flips: list[int]) -> None:
        """Hold a state that makes sense."""
        self.query = query
        self.cut = cut
        self.flips = flips

    @classmethod
    def of(cls, values: Mapping[str, str]) -> SearchState:
        """Read an address. Unknown names and empty values count for nothing.

        Raises:
            Problem: several queries at a time, or bits that are no numbers (422).
        """
        query = {name: values[name] for name in QUERIES if values.get(name)}
        if len(query) > 1:
            raise Problem(
                422,
                f"The address asks for {' and '.join(query)} at a time.",
                "Ask for one of them.",
            )
        cut = {name: values[name].strip() for name in CUTS if values.get(name, "").strip()}
        flips = set(_positions(values.get("flip", "")))
        if values.get("toggle", ""):  # the button of a bit
            flips ^= set(_positions(values["toggle"]))
            cut = {name: text for name, text in cut.items() if not _takes_value(name, text)}
        return cls(query, cut, sorted(flips) if query else [])

    def request(self) -> QueryRequest | None:
        """What to ask the index for, flips aside; None without a query.

        Raises:
            Problem: something impossible is asked for (422).
        """
        values: dict[str, Any] = {"limit": DEFAULT_LIMIT, **self.query, **self.cut}
        if "vector" in values:
            values["vector"] = values["vector"].replace(",", " ").split()
        if not self.query:
            form_query({**values, "key": "-"})  # the cut is judged all the same
            return None
        return form_query({**values, "reconstruct": True})

    def values(self) -> dict[str, str]:
        """What an address of this state holds, by name."""
        flips = {"flip": ",".join(map(str, self.flips))} if self.flips else {}
        return {**self.query, **flips, **self.cut}

    def address(self, **changes: str | None) -> str:
        """The query string of this state with changes; None takes something out of it.

        Another query takes the flips of this one with it.
        """
        values: dict[str, str | None] = {**self.values()}
        if any(name in QUERIES for name in changes):
            values = {name: text for name, text in values.items() if name in CUTS}
            if any(name in changes for name in ("code", "key")):
                values.pop("order", None)  # which may take a value
        values.update(changes)
        given = {name: text for name, text in values.items() if text is not None}
        return "./?" + urlencode(given, errors="replace") if given else "./"

    def with_condition(self, name: str, value: Any) -> str | None:
        """The address that keeps to items with this value of a field; None where SQL has no word.

        Only where it adds something: a condition that holds already is not put twice.
        """
        if isinstance(value, str) and len(value) > _MOST_VALUE:
            return None
        condition = condition_of(name, value)
        given = without_remarks(self.cut.get("where", ""))
        if condition is None or _holds(given, condition):
            return None
        return self.address(where=f"({given}) and {condition}" if given else condition)


def _takes_value(name: str, text: str) -> bool:
    """Whether a part of the cut orders hits by a value: a code with other bits is that of none."""
    return name == "rerank" or (name == "order" and text == "certainty")


def _holds(given: str, condition: str) -> bool:
    """Whether a condition is one of those that clicks have put together."""
    if given == condition:
        return True
    if not given.startswith("("):
        return False
    depth = 0
    for place, character in enumerate(given):
        depth += (character == "(") - (character == ")")
        if not depth:  # the end of what was given before
            later = given[place + 1 :].removeprefix(" and ")
            return later == condition or _holds(given[1:place], condition)
    return False


def condition_of(name: str, value: Any) -> str | None:
    """An SQL condition for a value of a field; None for what cannot or should not be written."""
    if not name.isprintable() or len(name) > _MOST_CONDITION:
        return None
    column = '"' + name.replace('"', '""') + '"'
    if value is None:
        return f"{column} is null"
    if isinstance(value, bool):
        return f"{column} = {int(value)}"
    if isinstance(value, int) and abs(value) < 1 << 63:
        return f"{column} = {value}"
    if isinstance(value, float) and math.isfinite(value):
        return f"{column} = {value!r}"
    if isinstance(value, str) and value.isprintable() and len(value) <= _MOST_CONDITION:
        text = value.replace("'", "''")
        return f"{column} = '{text}'"
    return None


def _positions(text: str) -> list[int]:
    parts = text.replace(",", " ").split()
    if len(parts) > _MOST_FLIPS or not all(p.isascii() and p.isdigit() for p in parts):
        raise Problem(422, "flip holds what is no bit.", "Give numbers, as in flip=3,17.")
    # A number of any length is read in no time, and one of seven digits is no bit anyway.
    return [int(part.lstrip("0")[:7] or "0") for part in parts]


def answer(index: Index, state: SearchState, asked: QueryRequest) -> tuple[str, Result]:
    """The query's own code, in hexadecimal, and the answer to it with the flips.

    Raises:
        HashretError: as the methods of :class:`hashret.Index` do.
        Problem: a flip of a bit that is not there (422).
    """
    if not state.flips:
        result = ask(index, asked, asked)
        return to_hex(result.code), result
    if state.flips[-1] >= index.n_bits:
        raise Problem(
            422,
            f"There is no bit {state.flips[-1]}: codes have {index.n_bits} bits.",
            f"Flip bits from 0 to {index.n_bits - 1}.",
        )
    if asked.order == "certainty" or asked.rerank:
        raise UsageError(
            "A flipped code belongs to no item: its hits are ordered by distance only. "
            "Flip no bit, or leave order and rerank out."
        )
    if asked.key is not None:
        own = index[asked.key].code
    elif asked.code is not None:
        own = index.encoder.own_code(asked.code)[0]
    else:
        own = index.encode([value_of(index, asked)])[0]
    turned = flip(own, state.flips)
    return to_hex(own), index.query_code(turned, **asked.options())
