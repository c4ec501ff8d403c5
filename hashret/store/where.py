"""``where``: an SQL condition on the fields of items, evaluated where it can only read."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hashret.errors import UsageError

_ALLOWED_FUNCTIONS = frozenset(
    """
    abs coalesce glob iif ifnull instr length like lower ltrim max min nullif replace round rtrim
    substr substring trim typeof unicode upper date time datetime julianday strftime
    json_extract -> ->>
    """.split()  # noqa: SIM905 - thirty quotes hide the words
)
# Steps of the SQLite virtual machine between two checks, and how many checks a condition may take.
_STEPS_PER_CHECK = 100_000
_MAX_CHECKS = 20_000
_OWN_COLUMNS = ("key", "row")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_NOT_SQL = re.compile(
    r"'(?:[^']|'')*' | \"(?:[^\"]|\"\")*\" | --[^\n]* | /\*.*?(?:\*/|$)", re.DOTALL | re.VERBOSE
)
"""Texts, quoted names and remarks, in which a bracket or a semicolon means nothing."""


def _check_brackets(condition: str) -> None:
    """Refuse a condition that closes brackets it did not open, and would become another query."""
    bare = _NOT_SQL.sub("", condition)
    if ";" in bare:
        raise UsageError(f"--where takes one condition without ';', got {condition!r}.")
    depth = 0
    for character in bare:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            raise UsageError(f"The condition {condition!r} closes a bracket that it did not open.")


def _check_names(condition: str, columns: Iterable[str]) -> None:
    """Refuse a quoted name that is no column, which SQLite would take for a text."""
    known = {name.lower() for name in columns}
    for quoted in re.findall(r"'(?:[^']|'')*'|\"((?:[^\"]|\"\")*)\"", condition):
        if quoted and quoted.replace('""', '"').lower() not in known:
            raise UsageError(
                f"There is no column {quoted!r}; the columns are {', '.join(columns)}. A text "
                f"stands between single quotation marks: '{quoted}'."
            )


def _items_sql(columns: Iterable[str]) -> str:
    shown = []
    for name in columns:
        path = ("$." + _quote(name)).replace("'", "''")
        own = name in _OWN_COLUMNS
        shown.append(_quote(name) if own else f"json_extract(fields, '{path}') as {_quote(name)}")
    return f"select {', '.join(shown)} from items"


def matching_rows(
    connection: sqlite3.Connection, field_names: list[str], condition: str
) -> NDArray[np.int64]:
    """Rows, ascending, of the items that satisfy an SQL condition on ``key`` and the fields.

    Only reads of ``items`` and plain functions are authorised while the condition runs: it cannot
    write, attach, change settings or look into other tables.

    Args:
        connection: an open connection to ``items.db``.
        field_names: the fields that become columns.
        condition: what would stand after ``where``, such as ``label = 'Sneaker' and price < 20``.

    Raises:
        UsageError: the condition is not valid SQL, names an unknown field, or is refused.
    """
    if not isinstance(condition, str):
        raise UsageError(f"where takes an SQL condition as text, got {condition!r}.")
    columns = [*_OWN_COLUMNS, *field_names]
    _check_brackets(condition)
    _check_names(condition, columns)
    checks = 0

    def authorise(action: int, first: str | None, second: str | None, *_: object) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and first in ("items", "item", "chosen"):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _ALLOWED_FUNCTIONS:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def too_long() -> int:
        nonlocal checks
        checks += 1
        return int(checks > _MAX_CHECKS)

    # Only those that may be meant: SQLite has a limit of columns, and each costs time.
    used = [name for name in columns if name in _OWN_COLUMNS or name.lower() in condition.lower()]
    # The line breaks end a remark in the condition.
    sql = (
        f"with item as ({_items_sql(used)}), "
        f"chosen as (select row from item where (\n{condition}\n)) "
        "select row from items where row in (select row from chosen) order by row"
    )
    connection.set_authorizer(authorise)
    connection.set_progress_handler(too_long, _STEPS_PER_CHECK)
    try:
        found = connection.execute(sql).fetchall()
    except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
        name = getattr(error, "sqlite_errorname", "")
        if name not in ("", "SQLITE_ERROR", "SQLITE_AUTH", "SQLITE_TOOBIG"):
            if name == "SQLITE_INTERRUPT":
                raise UsageError(f"The condition {condition!r} takes too long.") from error
            raise
        raise UsageError(
            f"The condition {condition!r} cannot be used: {error}. Expected an SQL condition on "
            f"these columns: {', '.join(columns)}."
        ) from error
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
    return np.fromiter((row for (row,) in found), dtype=np.int64, count=len(found))
