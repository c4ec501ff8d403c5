"""A NumPy file that is written from front to back, with a checksum of each of its blocks."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.files import open_regular
from hashret.search.threads import in_threads

BLOCK_BYTES = 1 << 26
"""Bytes of a file that share a CRC-32; blocks are checked on all cores."""
_CHUNK_BYTES = 1 << 22
NUMBERS = ("bytes", "header_bytes", "header_crc32")
"""Which of the facts of a file are whole numbers."""


class ArrayFile:
    """An ``.npy`` file of known shape that arrays are appended to.

    Attributes:
        path: where it is.
        dtype: of its numbers.
        shape: of the whole array.
        row_bytes: what one entry along the first axis takes.
        bytes: what is written so far.
        crc32: the checksum of each block so far; the last block may be unfinished.
        header_bytes: the length of what comes before the first number.
        header_crc32: its checksum.
    """

    def __init__(
        self,
        path: Path,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        state: dict[str, Any] | None = None,
    ) -> None:
        """Make the file, or go on with it after what :meth:`state` said.

        Raises:
            OSError: it cannot be written.
        """
        header = _header(dtype, shape)
        self.path, self.dtype, self.shape = path, dtype, shape
        self.header_bytes, self.header_crc32 = len(header), zlib.crc32(header)
        self.row_bytes = dtype.itemsize * prod(shape[1:])
        self._file = path.open("wb" if state is None else "r+b")
        if state is None:
            self.bytes = len(header)
            self.crc32 = [self.header_crc32]
            self._file.write(header)
        else:
            self.bytes, self.crc32 = state["bytes"], list(state["crc32"])
            self._file.truncate(self.bytes)
            self._file.seek(self.bytes)

    def __len__(self) -> int:
        """The entries along the first axis that are written so far."""
        return (self.bytes - self.header_bytes) // self.row_bytes

    def append(self, array: NDArray[Any]) -> None:
        """Write a C-contiguous array behind what is there.

        Raises:
            OSError: it cannot be written.
        """
        data = array.reshape(-1).view(np.uint8).data
        first = -self.bytes % BLOCK_BYTES
        cuts = [0, *range(first, len(data), BLOCK_BYTES), len(data)]
        pieces = [data[a:b] for a, b in pairwise(cuts) if a < b]
        if not pieces:
            return
        continued = [self.crc32.pop()] if first else []
        begun = continued + [0] * (len(pieces) - len(continued))
        self.crc32 += in_threads(lambda i: zlib.crc32(pieces[i], begun[i]), range(len(pieces)))
        for piece in pieces:
            self._file.write(piece)
        self.bytes += len(data)

    def flush(self) -> None:
        """Bring everything to the disk.

        Raises:
            OSError: it cannot be written.
        """
        self._file.flush()
        os.fsync(self._file.fileno())

    def state(self) -> dict[str, Any]:
        """What is needed to go on later: JSON."""
        return {"bytes": self.bytes, "crc32": self.crc32.copy()}

    def facts(self) -> dict[str, Any]:
        """What :func:`header_problem` and :func:`problems` compare a whole file with."""
        return {
            **self.state(),
            "header_bytes": self.header_bytes,
            "header_crc32": self.header_crc32,
        }

    def __enter__(self) -> ArrayFile:
        """The file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()


def header_problem(path: Path, facts: dict[str, Any]) -> str | None:
    """What is wrong with the size or the header of a file, or None."""

    def check(came: int) -> str | None:
        if came != facts["bytes"]:
            return f"{path} is damaged: it has {came} bytes instead of {facts['bytes']}."
        if _crc32(path, 0, facts["header_bytes"]) != facts["header_crc32"]:
            return f"{path} is damaged: its header is not the one it was written with."
        return None

    return _checked(path, check)


def problems(files: dict[Path, dict[str, Any]]) -> list[str]:
    """Read every byte of some files and say what is wrong with which of them.

    Args:
        files: each file with its :meth:`ArrayFile.facts`.
    """

    def check(task: tuple[Path, dict[str, Any], int]) -> str | None:
        path, facts, i = task
        if _crc32(path, i * BLOCK_BYTES, BLOCK_BYTES) != facts["crc32"][i]:
            return (
                f"{path} is damaged: the checksum of what begins at byte {i * BLOCK_BYTES:,} is "
                "not the one it was written with."
            )
        return None

    found = {path: header_problem(path, facts) for path, facts in files.items()}
    tasks = [
        (path, facts, i)
        for path, facts in files.items()
        if found[path] is None
        for i in range(len(facts["crc32"]))
    ]
    for (path, _, _), problem in zip(
        tasks, in_threads(lambda task: _checked(task[0], lambda _: check(task)), tasks), strict=True
    ):
        found[path] = found[path] or problem
    return [problem for problem in found.values() if problem is not None]


def _checked(path: Path, check: Callable[[int], str | None]) -> str | None:
    """Run a check on the size of a file, and put into words if that fails."""
    try:
        return check(path.stat().st_size)
    except FileNotFoundError:
        return f"{path} is missing."
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}."


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    buffer = BytesIO()
    kind = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


def _crc32(path: Path, start: int, n_bytes: int) -> int:
    crc = 0
    with open_regular(path) as file:
        file.seek(start)
        while n_bytes and (chunk := file.read(min(n_bytes, _CHUNK_BYTES))):
            crc = zlib.crc32(chunk, crc)
            n_bytes -= len(chunk)
    return crc
