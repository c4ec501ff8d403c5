"""Memory or disk for the rows and codes of many items."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import HashretError

HELD_BYTES = 1 << 29
"""Rows and codes of more bytes than this lie in files, where there is room for them."""


def room_for(count: int, n_bytes: int, room: Path | None) -> tuple[NDArray[np.int64], Codes]:
    """Arrays for so many rows and codes, whose values are not set.

    Args:
        count: how many.
        n_bytes: of a code.
        room: a folder for them where they are many; None holds them in memory.

    Returns:
        ``int64``, ``(count,)``, and ``uint8``, ``(count, n_bytes)``.

    Raises:
        HashretError: the disk has no room for them.
    """
    if room is None or count * (8 + n_bytes) <= HELD_BYTES:
        return np.empty(count, dtype=np.int64), np.empty((count, n_bytes), dtype=np.uint8)
    try:
        room.mkdir(parents=True, exist_ok=True)
        return (
            _mapped(room / "rows.npy", (count,), np.int64),
            _mapped(room / "codes.npy", (count, n_bytes), np.uint8),
        )
    except OSError as error:
        raise HashretError(
            f"{room} has no room for the {count:,} codes ({error.strerror or error}). Nothing was "
            f"changed; make {count * (8 + n_bytes):,} bytes free and try again."
        ) from error


def _mapped(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    # Writing where the disk has no block left would kill the process.
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
