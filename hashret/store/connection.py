"""Opening SQLite for durability, and saying its errors in hashret's words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashret.errors import DamagedIndexError, HashretError, IndexLockedError

BUSY_SECONDS = 5.0


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises about the database at ``path`` into a :class:`HashretError`."""
    damaged = (
        f"{path} is damaged (%s). It is the only truth of the index: restore it from a copy, or "
        "build the index again from its sources."
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
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")) or not name:
            raise DamagedIndexError(damaged % error) from error
        raise HashretError(f"{path} could not be used: {error} ({name}).") from error


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def is_writable(path: Path) -> bool:
    """Whether this process may write to the database at ``path``, and make files beside it."""
    return os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)


def stamp(path: Path) -> tuple[object, ...]:
    """What changes when anything is written to the database at ``path``."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_size, status.st_mtime_ns, _wal(path).exists())


@contextmanager
def at_once(connection: sqlite3.Connection) -> Iterator[None]:
    """Do not wait for whoever is writing."""
    connection.execute("pragma busy_timeout = 0")
    try:
        yield
    finally:
        connection.execute(f"pragma busy_timeout = {int(BUSY_SECONDS * 1000)}")


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open ``items.db``: write-ahead log, every commit on disk before it is acknowledged.

    A folder that cannot be written is opened for reading only; whoever reads from it must connect
    again when :func:`stamp` has changed.

    Args:
        path: the database file.
        create: make the file when it is missing; otherwise a missing file is an error.

    Raises:
        HashretError: the file is missing, damaged, or cannot be opened.
    """
    writable = create or is_writable(path)
    if create:
        options = "mode=rwc"
    elif writable:
        options = "mode=rw"
    else:
        # Reading a write-ahead log needs its shared-memory file; where none is left and none can
        # be made, the file is read as it lies, for as long as it stays the same.
        options = "mode=ro" if _wal(path).exists() else "mode=ro&immutable=1"
    if not create and not path.is_file():
        raise DamagedIndexError(
            f"{path} is missing. It is the only truth of the index: restore it from a copy, or "
            "build the index again from its sources."
        )
    with sqlite_errors(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?{options}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if writable:
                connection.execute("pragma journal_mode = wal")
                # FULL, not SQLite's NORMAL for this mode: a commit must outlive a power loss.
                connection.execute("pragma synchronous = full")
            connection.execute("pragma foreign_keys = on")
            connection.execute("pragma trusted_schema = off")
            connection.execute("select count(*) from sqlite_master").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
    return connection
