"""An array as a source: each row is an item, and its key is the number of the row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Sized
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError, UsageError
from hashret.sources.array_files import LABEL_NAMES, Rows, read_array_file, read_values, stem_of
from hashret.sources.hdf5 import Hdf5Rows
from hashret.sources.item import Item, Source
from hashret.sources.mapped import is_mapped, let_go
from hashret.sources.sparse import SparseRows, is_sparse
from hashret.sources.vecs import is_vecs_name, read_vecs

STEM = "{stem}"

BLOCK_ROWS = 1024
BLOCK_BYTES = 16 << 20
"""Rows are read so many at a time, and of no more bytes."""

LET_GO_BYTES = 256 << 20
"""After so many bytes of a mapped file, what was read of it need not stay in memory."""


class ArraySource(Source):
    """The rows of an array of shape (n, d), (n, height, width) or (n, height, width, 1 or 3).

    Args:
        array: the values.
        kind: ``"auto"``, ``"images"`` or ``"vectors"``; as vectors, images are flattened.
        prefix: what each key begins with.
        name: what messages call the array.
        labels: one scalar a row for the field ``label``.
        keys: one text a row, instead of the number of the row.
        location: the absolute path of the file that it comes from, if any.
        note: what the description says beside.

    Raises:
        InputError: an array of another type or shape.
    """

    has_rows = True

    def __init__(
        self,
        array: Rows,
        kind: str = "auto",
        *,
        prefix: str = "",
        name: str = "an array",
        labels: list[Any] | None = None,
        keys: list[str] | None = None,
        location: str | None = None,
        note: str = "",
    ) -> None:
        """Decide what the rows are."""
        super().__init__()
        if array.ndim < 2:
            raise InputError(
                f"Expected an array of rows, two dimensions or more, in {name}, got the shape "
                f"{array.shape}; array.reshape(1, -1) makes one row of one vector, and labels are "
                "read along with the file that they belong to."
            )
        if 0 in array.shape:
            raise InputError(f"There is nothing in {name}: its shape is {array.shape}.")
        self.kind = row_kind(array.dtype, array.shape[1:], kind, name)
        self._values = array
        self._row_shape = (
            (math.prod(array.shape[1:]),) if self.kind == "vectors" else array.shape[1:]
        )
        self.width = self._row_shape[0] if self.kind == "vectors" else None
        self._labels = labels
        self._keys = keys
        self.prefix = prefix
        self.row_prefix = prefix if keys is None else None
        self.location = location
        self.length = len(array)
        self.divisible = isinstance(array, Hdf5Rows) or is_mapped(array)
        self.description = f"{self.length:,} {self._shape_text()} from {name}{note}"

    def named_keys(self) -> list[str]:
        """The keys where the file gives them; none where they are the numbers of the rows."""
        return [self.prefix + key for key in self._keys or ()]

    def holds(self, key: str) -> bool:
        """Whether a row has this key."""
        if self._keys is not None:
            return key in self._key_set
        row = key.removeprefix(self.prefix)
        if not key.startswith(self.prefix) or len(row) > 18 or not row.isdecimal():
            return False
        return row == str(int(row)) and int(row) < self.length

    @cached_property
    def _key_set(self) -> set[str]:
        return set(self.named_keys())

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        for rows, values in self._blocks(positions):
            for row, value in zip(rows, values, strict=True):
                yield Item(
                    self.prefix + (str(row) if self._keys is None else self._keys[row]),
                    value,
                    {} if self._labels is None else {"label": self._labels[row]},
                    None if self.location is None else row,
                )

    def _blocks(self, positions: Sequence[int]) -> Iterator[tuple[Sequence[int], NDArray[Any]]]:
        """Some of the rows at a time, with their numbers."""
        row_bytes = math.prod(self._row_shape) * self._values.dtype.itemsize
        size = max(1, min(BLOCK_ROWS, BLOCK_BYTES // row_bytes))
        n_bytes = 0
        for start in range(0, len(positions), size):
            rows = positions[start : start + size]
            first, end = rows[0], rows[-1] + 1
            if end - first == len(rows):
                values = self._values[first:end]
            else:
                values = np.stack([self._values[row] for row in rows])
            yield rows, np.ascontiguousarray(values).reshape(len(rows), *self._row_shape)
            n_bytes += (end - first) * row_bytes
            if n_bytes >= LET_GO_BYTES:
                let_go(self._values)
                n_bytes = 0

    def _shape_text(self) -> str:
        plural = "s" * (len(self._values) > 1)
        if self.kind == "vectors":
            return f"vector{plural} of {self._row_shape[0]:,} values ({self._values.dtype})"
        height, width = self._row_shape[:2]
        grey = self._row_shape[2:] in ((), (1,))
        return f"image{plural} of {width} x {height} ({'grey' if grey else 'RGB'})"


def open_array_file(
    path: Path, location: str, kind: str, key_prefix: str, name: str | None = None
) -> ArraySource:
    """Open an IDX, .npy, .npz, HDF5, .fvecs, .bvecs or .ivecs file.

    Args:
        path: the file.
        location: its absolute path.
        kind: ``"auto"``, ``"images"`` or ``"vectors"``.
        key_prefix: what each key begins with; ``{stem}`` stands for the file's name without
            suffixes.
        name: of one of several arrays in it; None for the one that is most likely meant.

    Raises:
        InputError: the file cannot be used.
    """
    content = read_array_file(path, name)
    _check_unstructured(content.values.dtype, path.name)
    if content.values.ndim == 1:
        raise InputError(
            f"{path} holds a single column of {len(content.values):,} values, as labels do, not "
            "items: give the file of the images or vectors, and its labels are found beside it. "
            "One vector alone must have the shape (1, d)."
        )
    note = f" with labels from {content.labels_from}" if content.labels is not None else ""
    if content.unused:
        note += f"; {', '.join(content.unused)} not used"
        if any(one in LABEL_NAMES for one in content.unused):
            note += f" (labels have {len(content.values):,} rows, as what they belong to)"
    return ArraySource(
        content.values,
        kind,
        prefix=key_prefix.replace(STEM, stem_of(path.name) + (f"/{name}" if name else "")),
        name=path.name + (f"/{name}" if name else ""),
        labels=content.labels,
        keys=content.keys,
        location=location + (f"/{name}" if name else ""),
        note=note,
    )


def open_array(data: Any, kind: str, key_prefix: str) -> ArraySource:
    """Open an array, or anything that ``numpy.asarray`` makes a numeric array of.

    Raises:
        InputError: it makes no numeric array of it.
        UsageError: ``key_prefix`` asks for the name of a file.
    """
    if STEM in key_prefix:
        raise UsageError(f"{STEM} in key_prefix stands for the name of a file; an array has none.")
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise InputError(
            "Expected an array without missing values, got a masked one; data.filled(0), or "
            "another value, fills them."
        )
    if is_sparse(data):
        return ArraySource(SparseRows(data), kind, prefix=key_prefix, name="a sparse matrix")
    try:
        array = np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            _ragged(data)
            or f"Expected rows of equal length and numeric type, got {type(data).__name__} of "
            f"which NumPy makes no array: {error}"
        ) from error
    _check_unstructured(array.dtype, "the array")
    if array.dtype.kind in "UO" and array.size and isinstance(array.flat[0], str):
        raise InputError('Expected numbers, got an array of strings: kind="text" makes them texts.')
    return ArraySource(array, kind, prefix=key_prefix)


def _ragged(rows: Any) -> str:
    """Which row has another length than the first; nothing where none has."""
    if not isinstance(rows, list | tuple):
        return ""
    lengths = [len(row) if isinstance(row, Sized) else None for row in rows]
    for number, length in enumerate(lengths):
        if length != lengths[0]:
            values = "is no list" if length is None else f"has {length:,} values"
            first = "none" if lengths[0] is None else f"{lengths[0]:,}"
            return f"Expected rows of one length: row {number:,} {values}, expected {first}."
    return ""


def _check_unstructured(dtype: np.dtype[Any], name: str) -> None:
    """Refuse an array of records of several fields.

    Raises:
        InputError: it is one.
    """
    if dtype.names:
        raise InputError(
            f"{name} is a structured array, of the fields {', '.join(dtype.names)}: save rows of "
            "numbers, such as numpy.lib.recfunctions.structured_to_unstructured(array) makes."
        )


def read_row(path: Path, row: int | None, name: str | None = None) -> NDArray[Any]:
    """Read one value from an array file: the given row, or the only one.

    Args:
        path: the file.
        row: counted from 0.
        name: of one of several arrays in the file.

    Raises:
        InputError: there is no such row, or several and none is given.
    """
    status = path.stat()
    values = _latest_values(path, name, status.st_size, status.st_mtime_ns)
    if is_vecs_name(path.name):
        read_vecs(path, row or 0)
    if row is not None:
        if values.ndim < 2 or row >= len(values):
            raise InputError(
                f"{path} has no row {row}: its shape is {values.shape}"
                f"{f', rows count from 0 to {len(values) - 1}' if values.ndim > 1 else ''}."
            )
        return np.array(values[row])
    if values.ndim > 1 and len(values) == 1:
        return np.array(values[0])
    # A file of one vector, or of one picture of shape (height, width[, 3]).
    if values.ndim == 1 or (
        values.dtype == np.uint8
        and (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3)))
    ):
        return np.array(values[:])
    raise InputError(
        f"Expected one value in {path}, got the shape {values.shape}; name a row: {path}#0"
    )


@lru_cache(maxsize=1)
def _latest_values(path: Path, name: str | None, _size: int, _modified: int) -> Rows:
    """The values of the file that was read last, for row after row is asked of the same one."""
    return read_values(path, name)


def row_kind(dtype: np.dtype[Any], shape: tuple[int, ...], kind: str, name: str) -> str:
    """Decide what one row of an array is.

    Args:
        dtype: its type.
        shape: its shape.
        kind: ``"auto"``, or what the user says it is.
        name: what messages call it.

    Returns:
        ``"images"`` or ``"vectors"``.

    Raises:
        InputError: it can be neither, or not what the user says.
    """
    if kind == "text":
        raise InputError(f"Expected text, got numbers in {name}; leave kind at 'auto'.")
    if dtype.kind not in "biuf":
        raise InputError(
            f"Expected numbers in {name}, got dtype {dtype}; convert with .astype('float32')."
        )
    if len(shape) == 1:
        if kind == "images":
            raise InputError(
                f"Expected images of shape (height, width) or (height, width, 3) in {name}, got "
                f"rows of shape {shape}: reshape them, or use kind 'vectors'."
            )
        return "vectors"
    if kind == "vectors" and shape:
        return "vectors"
    is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    if is_picture and (kind == "images" or dtype == np.uint8):
        return "images"
    raise InputError(
        f"Expected vectors of shape (d,), or images of shape (height, width), (height, width, 1) "
        f"or (height, width, 3) and dtype uint8, in {name}, got rows of shape {shape} and dtype "
        f"{dtype}; kind 'images' takes floats from 0 to 1, and kind 'vectors' flattens each row."
    )
