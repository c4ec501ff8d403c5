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
_JOURNAL = f"{DATABASE}-journal"
_IN_PLACE = frozenset({DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOCK_FILE})
_NAMES = _IN_PLACE | {SEAL_FILE, "encoder", "segments", "plots", REPAIR_FOLDER, _JOURNAL}
_KEPT = re.compile(r"damaged-[0-9-]+")
"""What :mod:`hashret.store.salvage` calls a folder of files that were damaged."""


def check_own_files(folder: Path) -> None:
    """Refuse an index of which a part is a link, or anything but a regular file or a folder.

    Whoever sent it could have made hashret read, change or remove what lies outside of it. Call it
    before anything in the folder is opened.

    Raises:
        UnsafeIndexError: a part could lead elsewhere.
        HashretError: the folder cannot be listed.
    """
    check_own(folder, _is_own, _IN_PLACE)
    # SQLite plays one back before it writes, and removes the file that it names in the end.
    if (folder / _JOURNAL).exists():
        raise UnsafeIndexError(
            f"{folder / _JOURNAL} is a rollback journal, which hashret never makes and SQLite "
            "would act upon. If you trust where the index comes from, delete the journal; then "
            "`hashret verify` tells whether the items are whole."
        )


def _is_own(name: str) -> bool:
    return name in _NAMES or any(one.fullmatch(name) for one in (UNFINISHED_SEAL, _KEPT))
