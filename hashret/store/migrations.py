"""The schema of ``items.db``, as numbered migrations that are applied once each, in order."""

from __future__ import annotations

import sqlite3

from sqlite_utils import Database, Migrations

from hashret.store import schema

FORMAT = 2
"""The version of the index format: it changes when an older hashret could misread an index.

2 keeps vectors, which one that knows 1 alone would not add; without kept vectors it is still 1.
"""
OLDEST_FORMAT = 1

migrations = Migrations("hashret")


@migrations(name="0001_items")
def _items(db: Database) -> None:
    for table in (
        *(schema.ITEMS, schema.SOURCES, schema.DELETIONS),
        *(schema.SEGMENTS, schema.FIELDS, schema.SETTINGS),
    ):
        db.execute(f"create table {table}")


@migrations(name="0002_vectors")
def _vectors(db: Database) -> None:
    db.execute(f"create table {schema.VECTORS}")


@migrations(name="0003_identities")
def _identities(db: Database) -> None:
    db.execute(f"create index {schema.ITEMS_BY_CONTENT}")
    db.execute(f"alter table segments add column {schema.MANIFEST_COLUMN}")


def update_schema(connection: sqlite3.Connection) -> None:
    """Apply the migrations that the database has not seen, inside the transaction that is open."""
    database = Database(connection)
    if migrations.pending(database):
        migrations.apply(database)
