"""Array files: IDX, .npy, .npz, HDF5, .fvecs: with the labels and keys that belong to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.files import open_regular
from hashret.sources.hdf5 import Hdf5Rows
from hashret.sources.idx import check_fits, is_idx_name, labels_beside, read_idx
from hashret.sources.inside import is_hdf5_name
from hashret.sources.metadata import check_key, scalar
from hashret.sources.npz_files import mapped_members
from hashret.sources.sparse import SparseRows
from hashret.sources.vecs import is_vecs_name, read_vecs

T = TypeVar("T")

Rows: TypeAlias = NDArray[Any] | Hdf5Rows | SparseRows
"""What can be asked for its shape, its type and some of its rows."""

DATA_NAMES = ("X", "x", "data", "vectors", "embeddings", "images", "arr_0", "x_train")
LABEL_NAMES = ("y", "labels", "label", "y_train")
KEY_NAMES = ("keys", "ids")

_SUFFIXES = re.compile(
    r"(\.npy|\.npz|\.hdf5|\.h5|\.[fbi]vecs|[.]idx(\d+(-\w+)?)?)?(\.gz)?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """What an array file holds.

    Attributes:
        values: the array; its rows are the items. Mapped, not read, where the format allows.
        labels: one scalar a row, or None.
        labels_from: the name of the file or array that the labels come from.
        keys: one text a row, unique, or None.
        unused: arrays of the file that were left alone.
    """

    values: Rows
    labels: list[Any] | None = None
    labels_from: str = ""
    keys: list[str] | None = None
    unused: tuple[str, ...] = ()


def is_array_name(name: str) -> bool:
    """Whether a file of this name is an array file."""
    return (
        name.lower().endswith((".npy", ".npz"))
        or is_idx_name(name)
        or is_vecs_name(name)
        or is_hdf5_name(name)
    )


def holds_several(name: str) -> bool:
    """Whether a file of this name holds several arrays, each of which has a name."""
    return name.lower().endswith(".npz") or is_hdf5_name(name)


def stem_of(name: str) -> str:
    """The name of an array file without its suffixes.

    Example:
        >>> stem_of("train-images-idx3-ubyte.gz"), stem_of("v1.2.npy")
        ('train-images-idx3-ubyte', 'v1.2')
    """
    return _SUFFIXES.sub("", name, count=1)


def read_array_file(path: Path, name: str | None = None) -> ArrayFile:
    """Read an array file and what belongs to it.

    Args:
        path: the file.
        name: of the array that is meant, in a file that holds several; None guesses.

    Labels lie beside an IDX file of images (``train-labels-idx1-ubyte.gz``) or a .npy file
    (``X_labels.npy`` or ``X.labels.npy`` beside ``X.npy``), and inside a .npz file.

    Raises:
        InputError: the file is missing or damaged, holds Python objects, leaves open which array
            is meant, or has labels or keys of another length.
    """
    if path.name.lower().endswith(".npz"):
        return _read_npz(path, name)
    if is_hdf5_name(path.name):
        rows = Hdf5Rows(path, name)
        return ArrayFile(rows, unused=rows.unused)
    if is_vecs_name(path.name):
        return ArrayFile(read_vecs(path))
    if is_idx_name(path.name):
        values, labels_path = read_idx(path), labels_beside(path)
    else:
        values, labels_path = read_npy(path), _npy_labels_beside(path)
    if labels_path is None or not values.ndim:
        return ArrayFile(values)
    labels = read_idx(labels_path) if is_idx_name(labels_path.name) else read_npy(labels_path)
    if not _is_column(labels) or len(labels) != len(values):
        raise InputError(
            f"{labels_path} must hold one label for each of the {len(values):,} rows of {path}, "
            f"but its shape is {labels.shape}; bring the files that belong together, or rename "
            "the labels file to index without labels."
        )
    return ArrayFile(values, _label_list(labels, labels_path), labels_path.name)


def read_values(path: Path, name: str | None = None) -> Rows:
    """The values of an array file alone, without the labels beside them.

    Whether the records of .fvecs and its like are all of one length is left to be checked.

    Raises:
        InputError: the file is missing or damaged.
    """
    if path.name.lower().endswith(".npz"):
        return _read_npz(path, name).values
    if is_hdf5_name(path.name):
        return Hdf5Rows(path, name)
    if is_vecs_name(path.name):
        return read_vecs(path, row=0)
    return read_idx(path) if is_idx_name(path.name) else read_npy(path)


def read_npy(path: Path) -> NDArray[Any]:
    """Memory-map a .npy file.

    Raises:
        InputError: the file is missing, unreadable or damaged, or holds Python objects.
    """
    # NumPy would wait at a pipe.
    _guarded(path, lambda: open_regular(path)).close()
    array = _guarded(path, lambda: np.lib.format.open_memmap(path, mode="r"))
    return np.asarray(array)


def _npy_labels_beside(path: Path) -> Path | None:
    for separator in "_.":
        candidate = path.with_name(f"{stem_of(path.name)}{separator}labels.npy")
        if candidate != path and candidate.is_file():
            return candidate
    return None


def _read_npz(path: Path, name: str | None) -> ArrayFile:
    # NumPy leaves a file open that it was given by name and cannot read.
    with _guarded(path, lambda: open_regular(path)) as file:
        if file.read(2) != b"PK":
            raise InputError(f"{path} is damaged or not a .npz file; get or make it again.")
        file.seek(0)
        archive = _guarded(path, lambda: np.load(file, allow_pickle=False))
        mapped = _guarded(path, lambda: mapped_members(path, file, archive.zip))
        held = (one.file_size for one in archive.zip.infolist() if one.filename not in mapped)
        check_fits(path, sum(held))
        members = {
            name: mapped[member]
            if (member := f"{name}.npy") in mapped
            else _guarded(path, partial(archive.__getitem__, name))
            for name in archive
        }
    # NumPy returns the bytes of a member that is no array.
    arrays = {name: array for name, array in members.items() if isinstance(array, np.ndarray)}
    return _choose(path, arrays, name)


def _choose(path: Path, arrays: dict[str, NDArray[Any]], asked: str | None) -> ArrayFile:
    """Decide what each array of a .npz file is for."""
    if asked is not None and asked not in arrays:
        raise InputError(
            f"There is no array {asked!r} in {path}; it has {', '.join(arrays) or 'none'}."
        )
    name = asked or next((name for name in DATA_NAMES if name in arrays), None)
    if name is None:
        tables = [name for name, array in arrays.items() if array.ndim >= 2]
        if len(tables) != 1:
            listed = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise InputError(
                f"Which array of {path} is meant? Expected one called {', '.join(DATA_NAMES)}, or "
                f"a single one of two or more dimensions, got {listed or 'none at all'}; name it "
                f"with --column NAME, or as {path}/NAME."
            )
        name = tables[0]
    values = arrays[name]
    n_rows = len(values) if values.ndim else 0
    set_of = name.removeprefix("x")
    label_names = (f"y{set_of}",) if name.startswith("x_") else LABEL_NAMES
    label_name = next(
        (
            label
            for label in label_names
            if label in arrays and _is_column(arrays[label]) and len(arrays[label]) == n_rows
        ),
        None,
    )
    key_name = next((key for key in KEY_NAMES if key in arrays and key != name), None)
    return ArrayFile(
        values,
        None if label_name is None else _label_list(arrays[label_name], path),
        label_name or "",
        None if key_name is None else _key_list(arrays[key_name], n_rows, key_name, path),
        tuple(other for other in arrays if other not in (name, label_name, key_name)),
    )


def _is_column(array: NDArray[Any]) -> bool:
    """Whether this is one scalar a row; Keras gives CIFAR's labels the shape (n, 1)."""
    return array.dtype.kind in "biufUS" and (
        array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)
    )


def _label_list(labels: NDArray[Any], path: Path) -> list[Any]:
    values = _as_text(labels.ravel(), path).tolist()
    return [scalar(str(row), "label", value) for row, value in enumerate(values)]


def _key_list(keys: NDArray[Any], n_rows: int, name: str, path: Path) -> list[str]:
    if not _is_column(keys) or keys.dtype.kind not in "iuUS" or len(keys) != n_rows:
        raise InputError(
            f"The array {name} of {path} must hold one text or whole number for each of the "
            f"{n_rows:,} rows, but it is {keys.dtype} of shape {keys.shape}."
        )
    texts = [check_key(str(key)) for key in _as_text(keys.ravel(), path).tolist()]
    seen: set[str] = set()
    for key in texts:
        if key in seen:
            raise InputError(f"The key {key!r} comes twice in the array {name} of {path}.")
        seen.add(key)
    return texts


def _as_text(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.dtype.kind != "S":
        return array
    try:
        return np.strings.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"The labels or keys of {path} are bytes that are not UTF-8.") from error


def _guarded(path: Path, read: Callable[[], T]) -> T:
    """Call a reader of NumPy and turn what it may raise into an InputError that names the file."""
    try:
        return read()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except MemoryError as error:
        raise InputError(f"{path} holds more than fits into the memory.") from error
    except Exception as error:  # NumPy's readers raise anything on damaged data.
        if "object array" in str(error).lower() or "python objects" in str(error).lower():
            raise InputError(
                f"{path} holds an array of Python objects, which only pickle can read; save it "
                "as an array of numbers (array.astype(numpy.float32))."
            ) from error
        raise InputError(
            f"{path} is damaged or not a NumPy file ({error}); get or make it again."
        ) from error
