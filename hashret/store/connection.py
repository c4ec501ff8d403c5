"""Opening SQLite for durability, and saying its errors in hashret's words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashret.errors import DamagedIndexError, HashretError, IndexLockedError
from hashret.store.log import has_log
from hashret.store.own_files import check_own_files, refuse_journal
from hashret.store.schema import unknown_statement

BUSY_SECONDS = 5.0

WRITE_CACHE_KIB = 1 << 18
"""Memory for the pages that a transaction changes: keys come in no order that the disk likes."""


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises about the database at ``path`` into a :class:`HashretError`."""
    damaged = (
        f"{path} is damaged (%s). `hashret verify --repair` keeps every item that is whole; or "
        "restore a copy of the whole folder, or build the index again from its sources."
    )
    try:
        yield
    except UnicodeDecodeError as error:
        raise DamagedIndexError(damaged % error) from error
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        if "closed database" in str(error):
            raise HashretError(f"The index at {path.parent} was closed; open it again.") from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise IndexLockedError(
                f"{path} is being written by another process; try again when it has finished."
            ) from error
        if name.startswith("SQLITE_FULL"):
            raise HashretError(
                f"The disk is full: {path} could not be written. Nothing was changed; make room "
                "and run the command again."
            ) from error
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
            raise HashretError(
                f"{path} could not be read or written ({error}). Nothing was changed; check that "
                "the folder exists, is writable and has room."
            ) from error
        lacks = name == "SQLITE_ERROR" and str(error).startswith("no such")
        if (
            name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"))
            or not name
            or lacks
        ):
            raise DamagedIndexError(damaged % error) from error
        raise HashretError(f"{path} could not be used: {error} ({name}).") from error


def is_writable(path: Path) -> bool:
    """Whether this process may write to the database at ``path``, and make files beside it."""
    return os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)


def connect(path: Path) -> sqlite3.Connection:
    """Open ``items.db`` for reading.

    Where the folder cannot be written, the file is read as it lies, for as long as it stays the
    same: whoever reads from it must connect again when it has changed.

    Raises:
        UnsafeIndexError: a part of the index could lead outside of it.
        HashretError: the file is missing, damaged, or cannot be opened.
    """
    check_own_files(path.parent)
    refuse_journal(path.parent)
    if not path.is_file():
        raise DamagedIndexError(
            f"{path} is missing. It is the only truth of the index: restore it from a copy, or "
            "build the index again from its sources."
        )
    # Reading a write-ahead log needs its shared-memory file, which cannot be made there.
    as_it_lies = not is_writable(path) and not has_log(path)
    return _connected(path, "mode=ro&immutable=1" if as_it_lies else "mode=ro")


def connect_to_write(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open ``items.db`` for writing: every commit is on disk before it is acknowledged.

    Args:
        path: the database file.
        create: make the file, which must not be there; otherwise it must be there.

    Raises:
        HashretError: it cannot be opened or written.
    """
    if not create and not is_writable(path):
        raise HashretError(
            f"{path} cannot be written: an index is changed only by a user who may write to its "
            "folder. Nothing was changed."
        )
    with sqlite_errors(path):
        connection = _connected(path, "mode=rwc" if create else "mode=rw")
        try:
            connection.execute("pragma journal_mode = wal")
            # FULL, not SQLite's NORMAL for this mode: a commit must outlive a power loss.
            connection.execute("pragma synchronous = full")
            connection.execute("pragma wal_autocheckpoint = 0")
            connection.execute(f"pragma cache_size = -{WRITE_CACHE_KIB}")
        except sqlite3.Error:
            connection.close()
            raise
    return connection


def _connected(path: Path, options: str) -> sqlite3.Connection:
    with sqlite_errors(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?{options}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("pragma foreign_keys = on")
            unknown = unknown_statement(connection)
        except sqlite3.Error:
            connection.close()
            raise
    if unknown is not None:
        connection.close()
        raise DamagedIndexError(
            f"{path} holds {unknown} that hashret has not made. `hashret verify --repair` keeps "
            "the items and nothing else; or restore a copy of the whole folder."
        )
    return connection
