"""The write-ahead log of the database, as SQLite writes it: what it changes, whether it is whole.

Its format is that of https://www.sqlite.org/fileformat.html, section 4, and of
https://www.sqlite.org/walformat.html: a header of 32 bytes, then frames of 24 bytes and a page.
Each frame holds a checksum of itself and of all before it. SQLite looks at these when it opens a
log that nobody has open, and not again: a byte that is changed later would change answers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError
from hashret.files import regular_only

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_FRAMES_AT_A_TIME = 1024
_ORDERS = {0x377F0682: "<u4", 0x377F0683: ">u4"}


def log_of(path: Path) -> Path:
    """The write-ahead log of the database at ``path``."""
    return path.with_name(path.name + "-wal")


def has_log(path: Path) -> bool:
    """Whether commits may be in the write-ahead log of the database at ``path``."""
    try:
        return os.stat(f"{path}-wal").st_size > 0  # noqa: PTH116 - every query asks
    except OSError:
        return False


def bytes_in_log(path: Path, n_pages: int) -> NDArray[np.int64]:
    """Where the pages begin, in a database, that are in its log; only the caller may write to it.

    Pages of a transaction that was undone may be among them.

    Args:
        path: the database.
        n_pages: how many pages it has; what else stands in the log was never committed.
    """
    found = [np.empty(0, dtype=np.int64)]
    try:
        with FileIO(log_of(path), opener=regular_only) as file:
            header = file.read(_HEADER_BYTES)
            page_bytes = _page_bytes(header)
            for frames in _frames(file, page_bytes, 0, None):
                is_own = (frames[:, 8:16] == np.frombuffer(header[16:24], np.uint8)).all(axis=1)
                numbers = frames[is_own, :4].copy().view(">u4").ravel().astype(np.int64)
                found.append((numbers[(numbers >= 1) & (numbers <= n_pages)] - 1) * page_bytes)
                if not is_own.all():
                    break  # of a log before
    except (OSError, ValueError):
        return found[0]
    return np.unique(np.concatenate(found))


class LogEnd(NamedTuple):
    """How far a log had come.

    Attributes:
        salts: of the log, in hexadecimal; a log that was begun anew has others.
        frames: how many there were.
        checksums: of the last of them.
    """

    salts: str
    frames: int
    checksums: tuple[int, int]


def end_of_log(path: Path, known: LogEnd | None = None, until: int | None = None) -> LogEnd | None:
    """How far the log of the database at ``path`` is as it was written; None where there is none.

    Args:
        path: the database.
        known: an end that was found before; it is gone on from there.
        until: the number of frames to look at; None for all.
    """
    try:
        with FileIO(log_of(path), opener=regular_only) as file:
            header = file.read(_HEADER_BYTES)
            page_bytes = _page_bytes(header)
            order = _ORDERS[int.from_bytes(header[:4], "big")]
            salts = header[16:24]
            checksums = np.frombuffer(header[24:], dtype=">u4").astype(np.uint32)
            whole = 0
            if known is not None and known.salts == salts.hex():
                whole, checksums = known.frames, np.array(known.checksums, dtype=np.uint32)
            count = None if until is None else until - whole
            for frames in _frames(file, page_bytes, whole, count):
                kept = frames[:, 16:24].copy().view(">u4").astype(np.uint32)
                content = np.hstack([frames[:, :8], frames[:, _FRAME_HEADER_BYTES:]])
                follows = _follows(np.vstack([checksums, kept[:-1]]), content, order, kept)
                follows &= (frames[:, 8:16] == np.frombuffer(salts, np.uint8)).all(axis=1)
                good = len(frames) if follows.all() else int(follows.argmin())
                whole += good
                if good:
                    checksums = kept[good - 1]
                if good < len(frames):
                    break
    except (OSError, ValueError, KeyError):
        return None
    return LogEnd(salts.hex(), whole, (int(checksums[0]), int(checksums[1])))


class LogCheck:
    """Makes sure that what a log says is what was written to it; each frame is read once."""

    def __init__(self, path: Path) -> None:
        """Check the log of the database at ``path``."""
        self._path = path
        self._found: LogEnd | None = None

    def check(self, expected: LogEnd) -> None:
        """Compare what is new in the log with its checksums; call it while a state is held.

        Raises:
            DamagedIndexError: they differ.
        """
        if self._found == expected:
            return
        found = end_of_log(self._path, self._found, expected.frames)
        # It may be emptied and begun anew when nobody needs it, also while it is looked at here.
        now = end_of_log(self._path, until=0)
        if found is None or now is None or not found.salts == now.salts == expected.salts:
            return
        if found != expected:
            raise DamagedIndexError(
                f"{log_of(self._path)} is damaged: not as it was written. `hashret verify "
                "--repair` keeps every item that is whole; or restore a copy of the whole folder."
            )
        self._found = found


def _page_bytes(header: bytes) -> int:
    size = int.from_bytes(header[8:12], "big")
    if len(header) < _HEADER_BYTES or not 512 <= size <= 65536:
        raise ValueError("no log")
    return size


def _frames(
    file: FileIO, page_bytes: int, first: int, count: int | None
) -> Iterator[NDArray[np.uint8]]:
    """Frames of a log from the one numbered ``first``, at most ``count``, some at a time."""
    frame_bytes = _FRAME_HEADER_BYTES + page_bytes
    file.seek(_HEADER_BYTES + first * frame_bytes)
    left = np.inf if count is None else count
    while left:
        block = file.read(int(min(left, _FRAMES_AT_A_TIME)) * frame_bytes) or b""
        n_whole = len(block) // frame_bytes
        if not n_whole:
            return
        yield np.frombuffer(block, np.uint8, n_whole * frame_bytes).reshape(n_whole, frame_bytes)
        left -= n_whole
        file.seek(n_whole * frame_bytes - len(block), os.SEEK_CUR)


def _follows(
    before: NDArray[np.uint32], content: NDArray[np.uint8], order: str, after: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """Which of the checksums ``after``, ``(n, 2)``, are those of the content and those before."""
    words = content.view(order).astype(np.uint32, copy=False)
    ahead, weights = _weights(words.shape[1] // 2)
    expected = before @ ahead + words @ weights
    return np.asarray((expected == after).all(axis=1))


@cache
def _weights(n_pairs: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """What the checksums before, and each word, count in the checksums after: a linear function.

    For each pair of words x, y the format says: s0 += x + s1, then s1 += y + s0, modulo 2**32.
    """
    step = np.array([[1, 1], [1, 2]], dtype=np.uint32)  # (s0, s1) after, from (s0, s1) before
    pair = np.array([[1, 0], [1, 1]], dtype=np.uint32)  # from (x, y)
    power = np.eye(2, dtype=np.uint32)
    weights = np.empty((2 * n_pairs, 2), dtype=np.uint32)
    for number in reversed(range(n_pairs)):
        weights[2 * number : 2 * number + 2] = (power @ pair).T
        power = power @ step
    return power.T.copy(), weights
