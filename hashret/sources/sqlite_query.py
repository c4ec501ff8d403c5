"""The rows of an SQL query on an SQLite file, which is only read."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hashret.errors import InputError, UsageError
from hashret.sources.metadata import printable
from hashret.sources.reading import picked
from hashret.sources.records import Count, Record, RecordReader
from hashret.sources.regular import check_file

_ALLOWED = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    }
)
# What SQLite asks for itself where a table is virtual, as those of full-text search are: to declare
# its columns, which writes nothing (no statement can change this table), and to see if it changed.
_ALLOWED_BY_NAME = frozenset(
    {(sqlite3.SQLITE_UPDATE, "sqlite_master"), (sqlite3.SQLITE_PRAGMA, "data_version")}
)
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "writefile", "edit"})


_STEPS_PER_CHECK = 10_000
_end: ContextVar[float | None] = ContextVar("when queries are given up", default=None)


@contextmanager
def limited_queries(seconds: float | None) -> Iterator[None]:
    """Give up the queries of this thread or task that take longer together; None sets no limit."""
    token = _end.set(None if seconds is None else time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def _is_over() -> bool:
    end = _end.get()
    return end is not None and time.monotonic() > end


class SqlReader(RecordReader):
    """The rows that a query gives, in the order in which it gives them.

    Args:
        path: an SQLite file.
        sql: a query; None where the file has one table only, for all of that.

    Raises:
        InputError: the file cannot be read, or the query is refused.
        UsageError: no query, and not exactly one table.
    """

    def __init__(self, path: Path, sql: str | None) -> None:
        """Look at the names of the columns."""
        self._path = path
        if sql is None:
            sql = f"select * from {_quote(self._only_table())}"
        self._sql = sql.strip().rstrip(";")
        with self._connected() as connection:
            described = self._execute(connection, self._sql).description
        if described is None:
            raise self._refused("it gives no rows")
        self._columns = [name for name, *_ in described]
        twice = {name for name in self._columns if self._columns.count(name) > 1}
        if twice:
            raise self._refused(f"two of its columns are called {min(twice)!r}: name one with `as`")
        self.likely_keys = self._primary_keys()

    def columns(self) -> list[str]:
        """The names of the columns of the query."""
        return self._columns

    def count(self) -> Count:
        """Let SQLite count the rows."""
        # On a line of its own, for the query may end in a remark.
        sql = f"select count(*) from ({self._sql}\n)"
        with self._connected() as connection:
            return Count(int(self._execute(connection, sql).fetchone()[0]))

    def records(
        self, positions: Iterable[int] | None = None, columns: Collection[str] | None = None
    ) -> Iterator[Record]:
        """The rows as records."""
        names = self._columns if columns is None else [n for n in self._columns if n in columns]
        places = [self._columns.index(name) for name in names]
        with self._connected() as connection:
            for position, row in picked(self._execute(connection, self._sql), positions):
                values = {name: row[place] for name, place in zip(names, places, strict=True)}
                yield Record(position, f"row {position:,}", values)

    def _only_table(self) -> str:
        sql = (
            "select name from sqlite_master where type in ('table', 'view') "
            "and name not like 'sqlite\\_%' escape '\\' order by name"
        )
        with self._connected() as connection:
            tables = [name for (name,) in self._execute(connection, sql)]
        if len(tables) == 1:
            return str(tables[0])
        name = printable(str(self._path))
        if not tables:
            raise InputError(f"There is no table in {name}.")
        raise UsageError(
            f"Which rows of {name} are meant? Give --sql (sql= in Python), such as "
            f"'select * from {_quote(tables[0])}'; the tables are {', '.join(tables)}."
        )

    def _primary_keys(self) -> list[str]:
        """Columns of the query that are called as the primary key of a table that it names."""
        sql = (
            "select t.name, min(c.name) from sqlite_master t, pragma_table_info(t.name) c "
            "where t.type = 'table' and c.pk > 0 group by t.name having count(*) = 1"
        )
        with self._connected() as connection:
            connection.set_authorizer(None)  # for this query, which is none of the user's
            found = self._execute(connection, sql).fetchall()
        words = {word.lower() for word in re.findall(r"\w+", self._sql)}
        keys = {key for table, key in found if table.lower() in words}
        return [name for name in self._columns if name in keys]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            self._check_files()
            uri = f"file:{quote(str(self._path.resolve()))}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error
        except sqlite3.Error as error:
            raise self._refused(str(error)) from error
        try:
            connection.text_factory = _decoded
            connection.set_authorizer(_authorize)
            connection.set_progress_handler(_is_over, _STEPS_PER_CHECK)
            yield connection
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._refused(str(error)) from error
        finally:
            connection.close()

    def _check_files(self) -> None:
        """Refuse what SQLite, which opens files by their names, would wait for.

        Raises:
            OSError: the file, or a log that lies beside it, is not a regular file.
        """
        path = os.path.realpath(self._path)
        check_file(path)
        for log in (f"{path}-wal", f"{path}-journal", f"{path}-shm"):
            with suppress(FileNotFoundError):
                check_file(log)

    def _execute(self, connection: sqlite3.Connection, sql: str) -> sqlite3.Cursor:
        try:
            return connection.execute(sql)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise self._refused(str(error)) from error

    def _refused(self, reason: str) -> InputError:
        if reason == "interrupted":
            return InputError(
                f"Cannot read {printable(str(self._path))}: its query takes too long."
            )
        if reason == "database is locked":
            return InputError(
                f"Cannot read {printable(str(self._path))}: another program is writing to it; try "
                "again when that is done."
            )
        sql = f" by {printable(self._sql[:200])!r}" if hasattr(self, "_sql") else ""
        return InputError(
            f"Cannot read {printable(str(self._path))}{sql}: {reason}. Expected one query that "
            "only reads, on an SQLite file."
        )


def _authorize(action: int, first: str | None, second: str | None, *_: Any) -> int:
    """Let statements read; no pragma, no other file, nothing that changes anything."""
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = (second or "").lower() not in _REFUSED_FUNCTIONS
    else:
        allowed = action in _ALLOWED or (action, first) in _ALLOWED_BY_NAME
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
