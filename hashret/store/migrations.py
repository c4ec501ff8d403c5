"""The schema of ``items.db``, as numbered migrations that are applied once each, in order."""

from __future__ import annotations

import sqlite3

from sqlite_utils import Database, Migrations

FORMAT = 2
"""The version of the index format: it changes when an older hashret could misread an index.

2 keeps vectors, which one that knows 1 alone would not add; without kept vectors it is still 1.
"""
OLDEST_FORMAT = 1

migrations = Migrations("hashret")


@migrations(name="0001_items")
def _items(db: Database) -> None:
    # A row is never used twice (AUTOINCREMENT): segments are immutable and name items by row, so
    # a changed item takes a new row and its old one is listed in `deletions`.
    db.execute(
        """
        create table items (
          row integer primary key autoincrement,
          key text not null unique,
          code blob not null,
          fields text not null,
          content_hash blob not null,
          source integer references sources(id),
          position integer,
          checksum integer not null
        ) strict
        """
    )
    db.execute(
        "create table sources (id integer primary key, location text not null unique) strict"
    )
    db.execute("create table deletions (row integer primary key) strict")
    db.execute(
        """
        create table segments (
          name text primary key,
          first_row integer not null,
          last_row integer not null
        ) strict
        """
    )
    db.execute("create table fields (name text primary key) strict")
    db.execute("create table settings (name text primary key, value text not null) strict")


@migrations(name="0002_vectors")
def _vectors(db: Database) -> None:
    # A table of its own: items stay close together for whoever reads codes and keys.
    db.execute(
        """
        create table vectors (
          row integer primary key references items(row) on delete cascade,
          exponent integer not null,
          vector blob not null,
          checksum integer not null
        ) strict
        """
    )


@migrations(name="0003_identities")
def _identities(db: Database) -> None:
    # A file that was renamed is known again by its content.
    db.execute(
        """
        create index items_by_content on items(content_hash)
        where source is not null and position is null
        """
    )
    db.execute("alter table segments add column manifest integer")


def update_schema(connection: sqlite3.Connection) -> None:
    """Apply the migrations that the database has not seen, inside the transaction that is open."""
    database = Database(connection)
    if migrations.pending(database):
        migrations.apply(database)
