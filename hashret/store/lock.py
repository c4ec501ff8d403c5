"""One writer at a time: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from hashret.errors import HashretError, IndexLockedError


class WriterLock:
    """An exclusive lock on an index folder, held inside a ``with`` block.

    The kernel releases it when the holder ends, however it ends, so no stale lock is left behind.
    The file names the holder's process id, for the message that a second writer gets.

    Raises:
        IndexLockedError: another process (or another part of this one) is writing.
    """

    def __init__(self, folder: Path) -> None:
        """Name the lock of the index in ``folder``."""
        self._path = folder / "write.lock"
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        """Take the lock, or raise at once."""
        try:
            file = self._path.open("a+", encoding="ascii")
        except OSError as error:
            raise HashretError(
                f"{self._path.parent} cannot be written ({error.strerror}): an index is changed "
                "only by a user who may write to its folder."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise IndexLockedError(
                f"{self._path.parent} is being written by process {holder}; try again when it "
                "has finished."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None
