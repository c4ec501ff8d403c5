"""The schema of ``items.db``: each statement that hashret has ever made, and no other.

SQLite runs triggers, views, virtual tables and expressions of a schema whenever a table is read or
written, so that a database from elsewhere could act. Its own setting against that, trusted_schema,
takes the expressions of field indexes for unsafe too.
"""

from __future__ import annotations

import re
import sqlite3
from functools import lru_cache

from hashret.store.where import FIELD_INDEX, field_index

# A row is never used twice (AUTOINCREMENT): segments are immutable and name items by row, so a
# changed item takes a new row and its old one is listed in `deletions`.
ITEMS = """items (
  row integer primary key autoincrement,
  key text not null unique,
  code blob not null,
  fields text not null,
  content_hash blob not null,
  source integer references sources(id),
  position integer,
  checksum integer not null
) strict"""
SOURCES = "sources (id integer primary key, location text not null unique) strict"
DELETIONS = "deletions (row integer primary key) strict"
SEGMENTS = """segments (
  name text primary key,
  first_row integer not null,
  last_row integer not null
) strict"""
FIELDS = "fields (name text primary key) strict"
SETTINGS = "settings (name text primary key, value text not null) strict"
# A table of its own: items stay close together for whoever reads codes and keys.
VECTORS = """vectors (
  row integer primary key references items(row) on delete cascade,
  exponent integer not null,
  vector blob not null,
  checksum integer not null
) strict"""
# A file that was renamed is known again by its content.
ITEMS_BY_CONTENT = """items_by_content on items(content_hash)
where source is not null and position is null"""
MANIFEST_COLUMN = "manifest integer"

_TABLES = (
    *(ITEMS, SOURCES, DELETIONS, SEGMENTS, FIELDS, SETTINGS, VECTORS),
    SEGMENTS.replace("\n) strict", f", {MANIFEST_COLUMN}) strict"),
    # What SQLite makes for AUTOINCREMENT, and ANALYZE for the planner.
    *("sqlite_sequence(name,seq)", "sqlite_stat1(tbl,idx,stat)"),
    "sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
)
_MIGRATIONS = "_sqlite_migrations"
_PLAIN = frozenset(
    "create table unique index on integer text primary key not null strict".split()  # noqa: SIM905
)
_NAMES = ("table", "on")
"""Behind these, the name of a table stands."""
_QUOTED = re.compile(r'"[^"]*"|\[[^\]]*\]')
_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s]")


def unknown_statement(connection: sqlite3.Connection) -> str | None:
    """What a database holds that hashret has not made, in words; None where there is nothing.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    found = connection.execute("select type, name, tbl_name, sql from sqlite_master")
    for kind, name, table, sql in found:
        if not _is_known(kind, name, table, sql):
            return f"a {kind}, {name!r},"
    return None


def mend_schema(connection: sqlite3.Connection) -> None:
    """Put the statements that hashret makes in the place of all others; for a copy to be saved.

    Nothing of the others is run. Tables keep their pages, so that their rows can be read.

    Raises:
        sqlite3.Error: nothing can be read or written.
    """
    tables = {name: sql for kind, name, _, sql in _STATEMENTS if kind == "table"}
    connection.execute("pragma writable_schema = on")  # and errors in it are passed over
    decode, connection.text_factory = connection.text_factory, _as_text
    found = connection.execute("select rowid, type, name, tbl_name, sql from sqlite_master")
    for row, kind, name, table, sql in found.fetchall():
        if _is_known(kind, name, table, sql) and table in tables:
            continue
        if kind == "table" and name in tables:
            connection.execute(
                "update sqlite_master set tbl_name = name, sql = ? where rowid = ?",
                [tables[name], row],
            )
        else:
            connection.execute("delete from sqlite_master where rowid = ?", [row])
    connection.text_factory = decode


def _as_text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _is_known(kind: object, name: object, table: object, sql: object) -> bool:
    if not (isinstance(name, str) and isinstance(table, str)):
        return False
    if sql is None:  # the index of a UNIQUE or PRIMARY KEY
        return kind == "index" and name.startswith(f"sqlite_autoindex_{table}_")
    if not isinstance(sql, str):
        return False
    if (kind, name, table, _compact(sql)) in _KNOWN:
        return True
    if kind == "index" and table == "items" and name.startswith(FIELD_INDEX):
        return sql == f"CREATE INDEX {field_index(name.removeprefix(FIELD_INDEX))}"
    return kind in ("table", "index") and table == _MIGRATIONS and _is_plain(sql)


@lru_cache(maxsize=128)
def _compact(sql: str) -> str:
    return " ".join(re.sub(r"([(),])", r" \1 ", sql).split())


def _is_plain(sql: str) -> bool:
    """Whether a statement, of which versions of sqlite-utils differ, makes columns and no more."""
    words = _WORD_OR_SIGN.findall(_QUOTED.sub(" name ", sql).lower())
    if not all(word in _PLAIN or word in ("name", "(", ")", ",") for word in words):
        return False
    # A bracket behind another name would be that of a function.
    brackets = (i for i, word in enumerate(words) if word == "(")
    return all(
        words[i - 1] in ("key", "unique") or (words[i - 1] == "name" and words[i - 2] in _NAMES)
        for i in brackets
    )


_STATEMENTS = (
    *(
        ("table", name, name, f"CREATE TABLE {table}")
        for table in _TABLES
        for name in [re.split(r"\W", table, maxsplit=1)[0]]
    ),
    ("index", "items_by_content", "items", f"CREATE INDEX {ITEMS_BY_CONTENT}"),
)
_KNOWN = {(kind, name, table, _compact(sql)) for kind, name, table, sql in _STATEMENTS}
