"""The .fvecs, .bvecs and .ivecs formats of the TEXMEX data sets.

Each record is its length, a little-endian ``int32``, and so many elements: ``float32``, ``uint8``
or ``int32``. See http://corpus-texmex.irisa.fr.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.files import open_regular
from hashret.sources.mapped import let_go

DTYPES = {".fvecs": "<f4", ".bvecs": "u1", ".ivecs": "<i4"}
MAX_LENGTH = 1 << 24

_LENGTH_BYTES = 4
_CHECKED_BYTES = 16 << 20


def is_vecs_name(name: str) -> bool:
    """Whether a file of this name is of one of these formats."""
    return name.lower().endswith(tuple(DTYPES))


def read_vecs(path: Path, row: int | None = None) -> NDArray[Any]:
    """Memory-map a file of vectors of one length.

    Args:
        path: the file.
        row: the only record of interest, whose length alone is then compared with the first one's;
            None for all.

    Returns:
        ``float32``, ``uint8`` or ``int32`` of shape ``(n, d)``, mapped.

    Raises:
        InputError: the file is missing or damaged, or records differ in length; the record is
            named by its number, counted from 0.
    """
    dtype = np.dtype(DTYPES[path.suffix.lower()])
    try:
        with open_regular(path) as file:
            head = file.read(_LENGTH_BYTES)
            size = file.seek(0, 2)
        length = int.from_bytes(head, "little", signed=True)
        if len(head) < _LENGTH_BYTES or not 0 < length <= MAX_LENGTH:
            raise InputError(
                f"{path} is no {path.suffix} file: expected it to start with the length of its "
                f"first vector, from 1 to {MAX_LENGTH:,}, got "
                f"{length if len(head) == _LENGTH_BYTES else 'nothing'}."
            )
        width = _LENGTH_BYTES + length * dtype.itemsize
        n_whole = size // width
        if not n_whole:
            raise InputError(
                f"{path} is cut short: record 0 should have {length:,} values, {width:,} bytes, "
                f"but the file ends after {size:,}; get it again."
            )
        records = np.memmap(path, np.uint8, mode="r", shape=(n_whole, width))
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    heads = np.asarray(records)[:, :_LENGTH_BYTES]
    if row is None:
        _check_lengths(path, heads, length)
    elif row < n_whole:
        _check_lengths(path, heads[row : row + 1], length, row)
    if row is None and size % width:
        raise InputError(
            f"{path} is cut short: record {n_whole} should have {length:,} values, {width:,} "
            f"bytes, but only {size % width:,} bytes are left; get it again."
        )
    return np.asarray(records)[:, _LENGTH_BYTES:].view(dtype)


def _check_lengths(path: Path, heads: NDArray[np.uint8], length: int, first: int = 0) -> None:
    # Only heads are looked at, but whole pages are memory of the process until they are let go.
    size = max(1, _CHECKED_BYTES // heads.strides[0])
    for start in range(0, len(heads), size):
        some = heads[start : start + size].copy().view("<i4").ravel()
        let_go(heads)
        wrong = np.flatnonzero(some != length)
        if len(wrong):
            raise InputError(
                f"Expected vectors of one length in {path}, got {length:,} values in record 0 and "
                f"{int(some[wrong[0]]):,} in record {first + start + int(wrong[0]):,}, counted "
                "from 0; get the file again, or write the vectors that belong together into one."
            )
