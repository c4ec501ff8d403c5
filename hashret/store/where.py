"""``where``: an SQL condition on the fields of items, evaluated where it can only read."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from hashret.errors import UsageError
from hashret.store.patience import end_of_patience
from hashret.store.where_functions import give_bounded_functions

_ALLOWED_FUNCTIONS = frozenset(
    """
    abs coalesce glob iif ifnull instr length like lower ltrim max min nullif round rtrim
    substr substring trim typeof unicode upper date time datetime julianday strftime
    json_extract -> ->>
    """.split()  # noqa: SIM905 - thirty quotes hide the words
)
# Steps of the SQLite virtual machine between two checks; how many steps and seconds a condition may
# take, at least and for each item. Within a step, the limits on lengths bound time and memory.
_STEPS_PER_CHECK = 50
_MIN_STEPS = 50_000_000
_STEPS_PER_ITEM = 500
_MIN_SECONDS = 120.0
_SECONDS_PER_ITEM = 1e-4
_MAX_CHARACTERS = 1_000_000
_TEXT_BYTES = 1 << 16
"""The longest text of a condition, unless it is itself longer or an item has longer fields."""
_PATTERN_BYTES = 1000
"""The longest pattern; over longer texts it is shorter, as one step takes the product of both."""
_LEAST_PATTERN_BYTES = 20
_EXPRESSION_DEPTH = 500
_TIME = re.compile("date|time|julianday", re.IGNORECASE)
_OWN_COLUMNS = ("key", "row")
_READABLE = frozenset({"key", "row", "fields", ""})
"""Columns of the table; the empty name is that of a read which needs no column."""
FIELD_INDEX = "field:"
"""How the names of indexes on fields begin."""
_LOOKED_AT = 1000
_WITH_NUMBER = re.compile(
    r"""(?:"((?:[^"]|"")+)"|(?<![\w."])([^\W\d]\w*))\s*(?:[<>=]=?|!=|<>)\s*[-+]?[0-9]"""
)
"""A field beside a number."""

_log = logging.getLogger("hashret")

_TOKEN = re.compile(
    r"""
    (?P<text> '(?:[^']|'')*+' )
    | "(?P<name> (?:[^"]|"")*+ )"
    | `(?:[^`]|``)*+` | \[[^\]]*+\]
    | --[^\n]*+ | /\*.*?\*/
    | (?P<bare> . )
    """,
    re.DOTALL | re.VERBOSE,
)
"""Texts, names in quotation marks, remarks, and single characters outside of them."""


def _check_tokens(condition: str, columns: Iterable[str]) -> None:
    """Refuse what would leave its brackets, and a quoted name that SQLite would take for a text."""
    if len(condition) > _MAX_CHARACTERS:
        raise UsageError(
            f"The condition has {len(condition):,} characters; at most {_MAX_CHARACTERS:,} are "
            "taken."
        )
    known = {name.lower() for name in columns}
    depth = 0
    previous = ""
    for token in _TOKEN.finditer(condition):
        quoted, bare = token["name"], token["bare"]
        if quoted is not None and quoted.replace('""', '"').lower() not in known:
            raise UsageError(
                f"There is no column {quoted!r}; the columns are {', '.join(columns)}. A text "
                f"stands between single quotation marks: '{quoted}'."
            )
        if bare in (";", "\0"):
            raise UsageError(
                f"--where takes one condition without {bare!r}, got {_shown(condition)}."
            )
        if bare in ("'", '"', "`", "[") or (previous == "/" and bare == "*"):
            raise UsageError(
                f"The condition {_shown(condition)} opens a {bare} and does not end it."
            )
        depth += (bare == "(") - (bare == ")")
        if depth < 0:
            raise UsageError(
                f"The condition {_shown(condition)} closes a bracket that it did not open."
            )
        previous = bare or ""


def without_remarks(condition: str) -> str:
    """A condition without its remarks, so that something may follow it in the same line."""
    return _TOKEN.sub(
        lambda token: " " if token[0].startswith(("--", "/*")) else token[0], condition
    ).strip()


def _shown(condition: str) -> str:
    return repr(condition if len(condition) <= 200 else f"{condition[:200]}…")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _field_sql(name: str) -> str:
    """The value of a field.

    Its name stands in it as a literal: SQLite uses an index on an expression only where a query
    has the same expression, and a bound parameter is another one.
    """
    path = ("$." + _quote(name)).replace("'", "''")
    return f"json_extract(fields, '{path}')"


def _items_sql(columns: Iterable[str]) -> str:
    shown = [
        _quote(name) if name in _OWN_COLUMNS else f"{_field_sql(name)} as {_quote(name)}"
        for name in columns
    ]
    return f"select {', '.join(shown)} from items"


def index_field(connection: sqlite3.Connection, name: str) -> None:
    """Make an index on the values of a field, if there is none, inside the open transaction."""
    connection.execute(f"create index if not exists {field_index(name)}")


def field_index(name: str) -> str:
    """What stands behind ``create index`` for a field."""
    return f"{_quote(FIELD_INDEX + name)} on items({_field_sql(name)})"


def indexed_fields(connection: sqlite3.Connection) -> list[str]:
    """The fields that have an index, in alphabetical order."""
    found = connection.execute(
        "select substr(name, ?) from sqlite_master where type = 'index' and name glob ? order by 1",
        [len(FIELD_INDEX) + 1, FIELD_INDEX + "*"],
    )
    return [name for (name,) in found]


def where_sql(field_names: Iterable[str], condition: str) -> str:
    """The query for the rows of the items that satisfy a condition.

    Raises:
        UsageError: it is not one condition.
    """
    if not isinstance(condition, str):
        raise UsageError(f"where takes an SQL condition as text, got {condition!r}.")
    columns = [*_OWN_COLUMNS, *field_names]
    _check_tokens(condition, columns)
    # Only those that may be meant: SQLite has a limit of columns, and each costs time.
    lower = condition.lower()
    used = [name for name in columns if name in _OWN_COLUMNS or name.lower() in lower]
    # The line breaks end a remark in the condition.
    return (
        f"with item as ({_items_sql(used)}), "
        f"chosen as (select row from item where (\n{condition}\n)) "
        # Not from items: the condition would see the columns of that around it.
        "select row from chosen order by row"
    )


def may_tell_time(condition: str) -> bool:
    """Whether a condition may hold for other items a second later, in the same state."""
    return _TIME.search(condition) is not None


def matching_rows(
    connection: sqlite3.Connection, field_names: list[str], condition: str
) -> NDArray[np.int64]:
    """Rows, ascending, of the items that satisfy an SQL condition on ``key`` and the fields.

    While the condition runs, only reads of the keys, rows and fields of items and plain functions
    are authorised: it cannot write, attach, change settings or look elsewhere. Its steps, and the
    lengths of what it makes, are bounded.

    Args:
        connection: an open connection to ``items.db``.
        field_names: the fields that become columns.
        condition: what would stand after ``where``, such as ``label = 'Sneaker' and price < 20``.

    Raises:
        UsageError: the condition is not valid SQL, names an unknown field, is refused, or takes
            too long.
    """
    sql = where_sql(field_names, condition)
    give_bounded_functions(connection)
    (last,) = connection.execute("select max(row) from items").fetchone()
    try:
        text_bytes = max(_TEXT_BYTES, len(condition.encode()))
        try:
            _warn_of_text(connection, field_names, condition)
            return _found(connection, sql, int(last or 0), text_bytes)
        except sqlite3.Error as error:
            longest = 0
            if getattr(error, "sqlite_errorname", "") == "SQLITE_TOOBIG":
                sizes = connection.execute("select max(length(cast(fields as blob))) from items")
                longest = sizes.fetchone()[0] or 0
            if longest * 2 <= text_bytes:
                raise
            return _found(connection, sql, int(last or 0), longest * 2)
    except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_INTERRUPT":
            raise UsageError(f"The condition {_shown(condition)} takes too long.") from error
        if name not in ("", "SQLITE_ERROR", "SQLITE_AUTH", "SQLITE_TOOBIG"):
            raise
        raise UsageError(
            f"The condition {_shown(condition)} cannot be used: {error}.{_hint(error)} Expected an "
            f"SQL condition on these columns: {', '.join([*_OWN_COLUMNS, *field_names])}."
        ) from error


def _warn_of_text(connection: sqlite3.Connection, field_names: list[str], condition: str) -> None:
    """Warn of a number that is compared with a field that holds text, which is above them all."""
    bare = _TOKEN.sub(lambda token: "''" if token["text"] else token[0], condition)
    for quoted, plain in _WITH_NUMBER.findall(bare):
        asked = (quoted.replace('""', '"') or plain).lower()
        name = next((one for one in field_names if one.lower() == asked), None)
        if name is None:
            continue
        path = "$." + _quote(name)
        kinds = connection.execute(
            "select distinct json_type(fields, ?1) from (select fields from items limit ?2)",
            (path, _LOOKED_AT),
        )
        if {kind for (kind,) in kinds} - {None, "null"} == {"text"}:
            _log.warning(
                "the field %s holds text, and SQL takes every text for larger than any number; "
                "cast(%s as real) is the number that a text begins with.",
                name,
                plain or f'"{quoted}"',
            )


def _hint(error: Exception) -> str:
    if "pattern too complex" in str(error):
        return (
            f" A pattern may have {_PATTERN_BYTES:,} bytes, and fewer where an item has fields "
            f"longer than {_TEXT_BYTES:,} bytes; instr(field, 'text') finds longer texts."
        )
    name = re.fullmatch("no such column: (.+)", str(error), re.DOTALL)
    return f" A text stands between single quotation marks: '{name[1]}'." if name else ""


def _pattern_bytes(text_bytes: int) -> int:
    return max(
        _LEAST_PATTERN_BYTES, min(_PATTERN_BYTES, _PATTERN_BYTES * _TEXT_BYTES // text_bytes)
    )


def _found(
    connection: sqlite3.Connection, sql: str, n_items: int, text_bytes: int
) -> NDArray[np.int64]:
    with _restricted(connection, n_items, text_bytes):
        return np.fromiter((row for (row,) in connection.execute(sql)), dtype=np.int64)


@contextmanager
def _restricted(connection: sqlite3.Connection, n_items: int, text_bytes: int) -> Iterator[None]:
    """Let a connection only read items, and only as long as suits so many."""
    checks_left = (_MIN_STEPS + _STEPS_PER_ITEM * n_items) // _STEPS_PER_CHECK
    end = end_of_patience(time.monotonic() + _MIN_SECONDS + _SECONDS_PER_ITEM * n_items)

    def authorise(action: int, first: str | None, second: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (
            first in ("item", "chosen") or (first == "items" and second in _READABLE)
        ):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _ALLOWED_FUNCTIONS:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def too_long() -> int:
        nonlocal checks_left
        checks_left -= 1
        return int(checks_left < 0 or time.monotonic() > end)

    limits = {
        sqlite3.SQLITE_LIMIT_LENGTH: text_bytes,
        sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: _pattern_bytes(text_bytes),
        sqlite3.SQLITE_LIMIT_EXPR_DEPTH: _EXPRESSION_DEPTH,
    }
    before = {limit: connection.setlimit(limit, value) for limit, value in limits.items()}
    connection.set_authorizer(authorise)
    connection.set_progress_handler(too_long, _STEPS_PER_CHECK)
    try:
        yield
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
        for limit, value in before.items():
            connection.setlimit(limit, value)
