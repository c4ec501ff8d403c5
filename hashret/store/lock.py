"""One writer at a time: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from hashret.errors import HashretError, IndexLockedError
from hashret.files import open_lock, own_only
from hashret.store.own_files import LOCK_FILE, check_own_files

PATIENCE_SECONDS = 0.25


_held: set[FileIO] = set()


def _let_go() -> None:
    """In a child that was forked: the locks are those of its parent, who may die before it."""
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


def is_locked(folder: Path) -> bool:
    """Whether anyone is writing to the index in ``folder`` just now."""
    try:
        with FileIO(folder / LOCK_FILE, opener=own_only) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # nobody ever wrote here
    return False


class WriterLock:
    """An exclusive lock on an index folder, held inside a ``with`` block.

    The kernel releases it when the holder ends, however it ends, so no stale lock is left behind.
    The file names the holder's process id, for the message that a second writer gets.

    Args:
        folder: the folder of the index.
        patience: how many seconds to wait for the lock.
        named: whether the file is to name this process; one that only renews a seal while it
            reads writes nothing there.

    Raises:
        IndexLockedError: another process (or another part of this one) is writing.
        UnsafeIndexError: a part of the index could lead outside of it.
    """

    def __init__(
        self, folder: Path, patience: float = PATIENCE_SECONDS, *, named: bool = True
    ) -> None:
        """Name the lock; it is taken where the ``with`` block begins."""
        self._path = folder / LOCK_FILE
        self._patience = patience
        self._named = named
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        """Take the lock, or raise at once."""
        check_own_files(self._path.parent, writing=True)
        try:
            file = open_lock(self._path)
        except OSError as error:
            raise HashretError(
                f"{self._path.parent} cannot be written ({error.strerror}): an index is changed "
                "only by a user who may write to its folder."
            ) from error
        if not self._taken(file):
            holder = ""
            with suppress(OSError), file:
                file.seek(0)
                holder = file.read(20).decode("ascii", "replace").strip()
            raise IndexLockedError(
                f"{self._path.parent} is being written by process {holder or 'unknown'}; try "
                "again when it has finished."
            )
        if self._named:
            with suppress(OSError):  # on a full disk, the lock holds all the same
                file.truncate(0)
                file.write(str(os.getpid()).encode())
        self._file = file
        _held.add(file)
        return self

    def _taken(self, file: FileIO) -> bool:
        """Take the lock; a reader that looks at it holds it for less than a millisecond."""
        give_up = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= give_up:
                    return False
                time.sleep(0.005)
            else:
                return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the lock."""
        if self._file is not None:
            _held.discard(self._file)
            with self._file:  # a child that was forked meanwhile may have it open still
                fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file = None
