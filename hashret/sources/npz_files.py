"""The arrays of .npz files: mapped where they lie there as they are, read where compressed."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def mapped_members(
    path: Path, file: IO[bytes], archive: zipfile.ZipFile
) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file that ``numpy.savez`` wrote, without reading them.

    Args:
        path: the file.
        file: the same, open; where it stands is changed.
        archive: what it holds.

    Returns:
        Mapped arrays by the names of their members, ``X.npy``; without those that are compressed,
        hold Python objects, or are not what they say they are.
    """
    mapped = {}
    for member in archive.infolist():
        if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & _ENCRYPTED:
            array = _mapped(path, file, member)
            if array is not None:
                mapped[member.filename] = array
    return mapped


def _mapped(path: Path, file: IO[bytes], member: zipfile.ZipInfo) -> NDArray[Any] | None:
    file.seek(member.header_offset)
    head = file.read(_LOCAL_HEADER_BYTES)
    if len(head) < _LOCAL_HEADER_BYTES or head[:4] != b"PK\3\4":
        return None
    names = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    begin = file.seek(member.header_offset + _LOCAL_HEADER_BYTES + names)
    try:
        shape, fortran_order, dtype = _HEADERS[npy.read_magic(file)](file)
    except (ValueError, KeyError, OSError):
        return None
    offset = file.tell()
    n_bytes = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or not n_bytes or offset - begin + n_bytes != member.file_size:
        return None
    if file.seek(0, 2) < offset + n_bytes:
        return None
    order: Literal["F", "C"] = "F" if fortran_order else "C"
    return np.asarray(np.memmap(path, dtype, "r", offset, shape, order))
