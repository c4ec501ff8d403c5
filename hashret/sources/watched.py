"""A file that is read more than once, and may be written to meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

from hashret.errors import InputError

_COMPARED = 4096


class WatchedFile:
    """Tells a file to which something was added, as to a log, from one that holds something else.

    Args:
        path: the file.
        name: what messages call it.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Note what the file is like now."""
        self._path, self._name = path, name
        self._state = self._state_now()
        self._size = self._state[2] if self._state else 0
        self._end = self._last_bytes()

    def check(self) -> None:
        """Refuse a file that has changed, unless it only has more than before at its end.

        Raises:
            InputError: it is gone, is another file, is shorter, or was written anew.
        """
        state = self._state_now()
        if state == self._state:
            return
        if state is not None and self._state is not None and self._has_grown(self._state, state):
            self._state = state
            return
        raise InputError(
            f"{self._name} has changed since it was opened: give it again when nothing writes to "
            "it any more."
        )

    def _has_grown(self, before: tuple[int, ...], now: tuple[int, ...]) -> bool:
        is_longer = now[:2] == before[:2] and now[2] > before[2]
        # What was written anew, and is longer, hardly ever has the same bytes in the same place.
        return is_longer and self._last_bytes() == self._end

    def _state_now(self) -> tuple[int, ...] | None:
        """What changes when a file does; None where there is none any more."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _last_bytes(self) -> bytes | None:
        """The last bytes of what was there at first; None where it cannot be read."""
        try:
            with self._path.open("rb") as file:
                file.seek(max(self._size - _COMPARED, 0), os.SEEK_SET)
                return file.read(min(self._size, _COMPARED))
        except OSError:
            return None
