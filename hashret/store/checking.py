"""What is wrong with a database: SQLite's own check, and the checksum of every item."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from hashret.store.items import item_checksum

_ITEMS = "select row, key, code, fields, content_hash, checksum from items order by row"


def database_problems(connection: sqlite3.Connection, n_bytes: int) -> Iterator[str]:
    """One line for each problem; codes are ``n_bytes`` long."""
    try:
        for (line,) in connection.execute("pragma integrity_check(20)"):
            if line != "ok":
                yield f"items.db: {line}"
        for row, key, code, fields, digest, checksum in connection.execute(_ITEMS):
            whole = (
                isinstance(key, str)
                and isinstance(code, bytes)
                and isinstance(fields, str)
                and isinstance(digest, bytes)
                and len(code) == n_bytes
                and checksum == item_checksum(key, code, fields, digest)
            )
            if not whole:
                yield f"items.db: item {key!r} (row {row}) does not match its checksum"
    except (sqlite3.Error, UnicodeDecodeError) as error:
        yield f"items.db: {error}"
