"""The IDX format of the MNIST family of data sets.

The format is described at the end of LeCun, Cortes and Burges, "The MNIST database of handwritten
digits": two zero bytes, one byte for the type, one for the number of dimensions, then each
dimension as a big-endian ``uint32``, then the big-endian elements in C order.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.files import open_regular

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CHUNK_BYTES = 1 << 20
MOST_DIMENSIONS = 8
MOST_COMPRESSION = 1032
"""No gzip file holds more than so many times its own bytes."""

_UNZIP = "unpacked to a file of its own, an array is read from the disk as it is needed"

_Bytes: TypeAlias = BinaryIO | gzip.GzipFile

_NAME = re.compile(r"[-.]idx(\d+(-\w+)?)?(\.gz)?$", re.IGNORECASE)
_IMAGES = re.compile(r"images([-.])idx[34](?=-ubyte(\.gz)?$)")


def is_idx_name(name: str) -> bool:
    """Whether a file of this name is an IDX file: ``x.idx``, ``x-idx3-ubyte``, either gzipped."""
    return _NAME.search(name) is not None


def labels_beside(path: Path) -> Path | None:
    """The labels file that belongs to an IDX file of images, if there is one beside it.

    ``train-images-idx3-ubyte.gz`` has ``train-labels-idx1-ubyte.gz``; a dot may stand for the dash
    before ``idx``, and either file may be gzipped or not.
    """
    if not _IMAGES.search(path.name):
        return None
    plain = _IMAGES.sub(r"labels\1idx1", path.name).removesuffix(".gz")
    for name in (plain + ".gz", plain) if path.name.endswith(".gz") else (plain, plain + ".gz"):
        if (candidate := path.with_name(name)).is_file():
            return candidate
    return None


def read_idx(path: str | PathLike[str]) -> NDArray[Any]:
    """Read an IDX file, gzipped when its name ends in ``.gz``.

    Single-byte elements of a file that is not gzipped are memory-mapped, not read.

    Returns:
        The array in native byte order: ``uint8``, ``int8``, ``int16``, ``int32``, ``float32`` or
        ``float64``, of the shape that the file gives.

    Raises:
        InputError: the file is missing, unreadable, damaged or no IDX file.

    Example:
        ``read_idx("train-images-idx3-ubyte.gz").shape`` is ``(60000, 28, 28)`` for MNIST.
    """
    path = Path(path)
    try:
        with open_regular(path) as raw:
            if not path.name.lower().endswith(".gz"):
                return _read_mapped(path, raw)
            with gzip.open(raw, "rb") as file:
                return _read_stream(path, file)
    except InputError:
        raise
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{path} is not a whole gzip file ({error}); get or make it again."
        ) from error
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:  # a shape that NumPy does not know, of an array of nothing
        raise InputError(f"{path} is damaged ({error}); get or make it again.") from error
    except MemoryError as error:
        raise InputError(f"{path} holds more than fits into the memory; {_UNZIP}.") from error


def check_fits(path: Path, n_bytes: int) -> None:
    """Refuse compressed content that would fill the memory of this machine.

    Raises:
        InputError: ``n_bytes`` are more than half of it.
    """
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    if n_bytes > most:
        raise InputError(
            f"{path} holds {n_bytes:,} bytes or more, and half the memory of this machine is "
            f"{most:,}; {_UNZIP}."
        )


def _read_header(path: Path, file: _Bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not magic[3]:
        raise InputError(
            f"{path} is not an IDX file: expected it to start with two zero bytes, a type "
            f"({', '.join(f'0x{code:02x}' for code in DTYPES)}) and a number of dimensions, "
            f"got {magic.hex(' ') or 'an empty file'}."
        )
    n_dims = magic[3]
    if n_dims > MOST_DIMENSIONS:
        raise InputError(
            f"{path} is damaged: it says that it has {n_dims} dimensions, at most "
            f"{MOST_DIMENSIONS} are read; get or make it again."
        )
    sizes = file.read(4 * n_dims)
    if len(sizes) < 4 * n_dims:
        raise InputError(f"{path} is cut short: it ends within its header; get it again.")
    return np.dtype(DTYPES[magic[2]]), struct.unpack(f">{n_dims}I", sizes)


def _read_mapped(path: Path, file: _Bytes) -> NDArray[Any]:
    dtype, shape = _read_header(path, file)
    offset = file.tell()
    n_bytes = math.prod(shape) * dtype.itemsize
    _check_size(path, shape, dtype, n_bytes, file.seek(0, 2) - offset)
    if not n_bytes:
        return _native(np.empty(shape, dtype))
    return _native(np.asarray(np.memmap(path, dtype, mode="r", offset=offset, shape=shape)))


def _read_stream(path: Path, file: _Bytes) -> NDArray[Any]:
    dtype, shape = _read_header(path, file)
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes <= path.stat().st_size * MOST_COMPRESSION:  # or its end will come first
        check_fits(path, n_bytes)
    # In chunks, so that a false header cannot ask for more memory than the file has content.
    content = bytearray()
    while len(content) <= n_bytes and (chunk := file.read(CHUNK_BYTES)):
        check_fits(path, len(content) + len(chunk))
        content += chunk
    _check_size(path, shape, dtype, n_bytes, len(content))
    return _native(np.frombuffer(content, dtype).reshape(shape))


def _check_size(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], expected: int, came: int
) -> None:
    if came != expected:
        raise InputError(
            f"{path} is {'cut short' if came < expected else 'longer than its header says'}: its "
            f"header gives the shape {shape} of {dtype.name}, {expected:,} bytes, but "
            f"{came:,}{' or more' if came > expected else ''} follow; get or make it again."
        )


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
