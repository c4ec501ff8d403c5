"""What belongs to the folder of an index, and that none of it leads elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from hashret.errors import UnsafeIndexError
from hashret.files import check_own

DATABASE = "items.db"
LOCK_FILE = "write.lock"
SEAL_FILE = "seal.json"
REPAIR_FOLDER = ".repair"
UNFINISHED_SEAL = re.compile(rf"\.{re.escape(SEAL_FILE)}\.[a-z0-9_]+")
"""What :func:`hashret.files.write_durably` calls a seal that is not finished."""
SEGMENT_NAME = re.compile(r"[0-9]+(-[0-9a-f]{8})?")
"""What the folders of segments are called; the older ones have a number alone."""
_JOURNAL = f"{DATABASE}-journal"
_BY_READERS = frozenset({f"{DATABASE}-wal", f"{DATABASE}-shm"})
"""What SQLite may write in place when a database is read; a writer does, too."""
_BY_WRITERS = _BY_READERS | {DATABASE, LOCK_FILE}
_DEEP = frozenset({"encoder", "segments"})
"""Folders whose files are opened."""
_NAMES = _BY_WRITERS | _DEEP | {SEAL_FILE, "plots", REPAIR_FOLDER, _JOURNAL}
_KEPT = re.compile(r"damaged-[0-9-]+")
"""What :mod:`hashret.store.salvage` calls a folder of files that were damaged."""


def check_own_files(folder: Path, *, writing: bool = False) -> None:
    """Refuse an index of which a part is a link, or anything but a regular file or a folder.

    Whoever sent it could have made hashret read, change or remove what lies outside of it. Call it
    before anything in the folder is opened.

    Another hard link to what is written in place is a copy as that of a backup or of a tool that
    shares equal files. It may be read, but changes would go to both.

    Args:
        folder: of the index.
        writing: whether the index is to be changed.

    Raises:
        UnsafeIndexError: a part could lead elsewhere.
        HashretError: the folder cannot be listed.
    """
    check_own(folder, _is_own, _BY_WRITERS if writing else _BY_READERS, _DEEP)


def refuse_journal(folder: Path) -> None:
    """Refuse a rollback journal: SQLite plays it back and removes the file that it names.

    One lies beside a database for a moment while that is made.

    Raises:
        UnsafeIndexError: there is one.
    """
    if (folder / _JOURNAL).exists():
        raise UnsafeIndexError(
            f"{folder / _JOURNAL} is a rollback journal, which does not belong in an index; "
            "SQLite would replay it. If you trust the index, delete the journal; then `hashret "
            "verify` tells whether the items are whole."
        )


def _is_own(name: str) -> bool:
    return name in _NAMES or any(one.fullmatch(name) for one in (UNFINISHED_SEAL, _KEPT))
