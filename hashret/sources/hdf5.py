"""Data sets of HDF5 files, in the layout of ann-benchmarks or any other; needs h5py."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError, UsageError
from hashret.sources.metadata import printable
from hashret.sources.regular import check_file

PREFERRED = ("train", "X", "x", "data", "vectors", "embeddings", "images", "base", "x_train")
"""What is taken where no data set is named, the first of these that is there."""

LISTED = 12

USUAL_CACHE, MAX_CACHE = 1 << 20, 128 << 20
"""Bytes of unpacked chunks that HDF5 keeps unless told otherwise, and that it is told at most."""

_SLOTS = 521


class Hdf5Rows:
    """A data set of an HDF5 file, of which only the rows that are asked for are read.

    Attributes:
        name: of the data set.
        unused: the others in the file.
        shape: its shape.
        dtype: its type.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Open the data set of this name, or the one that is most likely meant.

        Raises:
            InputError: the file cannot be read, or has no such data set.
            UsageError: h5py is missing.
        """
        try:
            import h5py
        except ImportError as error:
            raise UsageError(
                "HDF5 files need h5py: pip install 'hashret[hdf5]', or pip install h5py."
            ) from error
        self._path = path
        self._lock = threading.Lock()
        try:
            check_file(path)  # which HDF5 opens by its name alone
            self._file = h5py.File(path, "r")
            found = {
                key: item
                for key in _names(self._file, h5py.HardLink)
                if isinstance(item := self._file[key], h5py.Dataset)
                and not (item.is_virtual or item.external)
            }
            self.name = _chosen(path, found, name)
            self.unused = tuple(key for key in found if key != self.name)
            cache = _cache(found[self.name])
            if cache:
                self._file.close()
                self._file = h5py.File(path, "r", **cache)
            self._data = self._file[self.name]
        except InputError:
            raise
        except (OSError, RuntimeError, ValueError, KeyError, UnicodeError) as error:
            raise InputError(
                f"{printable(str(path))} is damaged or not an HDF5 file ({error}); get or make it "
                "again."
            ) from error
        self.shape: tuple[int, ...] = tuple(self._data.shape or ())
        try:
            self.dtype: np.dtype[Any] = np.dtype(self._data.dtype)
        except TypeError as error:
            raise InputError(f"{self.name} in {path} holds no numbers ({error}).") from error

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0] if self.shape else 0

    def __getitem__(self, place: int | slice) -> NDArray[Any]:
        """A row, or rows, as an array in memory.

        Raises:
            InputError: the file is damaged there.
        """
        try:
            with self._lock:
                return np.asarray(self._data[place])
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"Cannot read {self.name} of {self._path} at row "
                f"{place.start if isinstance(place, slice) else place}: {error}."
            ) from error


def _cache(data: Any) -> dict[str, int]:
    """A cache that holds the chunks of one row, which are else unpacked again for each row.

    Nothing where the usual one does, or where they would fill the memory.
    """
    if data.chunks is None:
        return {}
    across = zip(data.shape[1:], data.chunks[1:], strict=True)
    n_chunks = math.prod(-(-length // part) for length, part in across)
    n_bytes = n_chunks * math.prod(data.chunks) * data.dtype.itemsize
    if not USUAL_CACHE < n_bytes <= MAX_CACHE:
        return {}
    return {"rdcc_nbytes": n_bytes, "rdcc_nslots": max(_SLOTS, 2 * n_chunks + 1)}


def _names(group: Any, hard_link: type) -> list[str]:
    """Names of what lies in the file itself, not behind links to other places and files."""
    names = []
    for key in group:
        if isinstance(group.get(key, getlink=True), hard_link):
            names.append(key)
            if group.get(key, getclass=True).__name__ == "Group":
                names += [
                    f"{key}/{inner}"
                    for inner in group[key]
                    if isinstance(group[key].get(inner, getlink=True), hard_link)
                ]
    return names


def _chosen(path: Path, found: dict[str, Any], name: str | None) -> str:
    listed = ", ".join(f"{key} {item.shape}" for key, item in list(found.items())[:LISTED])
    more = ", ..." if len(found) > LISTED else ""
    if name is not None:
        if name.strip("/") not in found:
            raise InputError(
                f"There is no data set {name!r} in {path}; it has {listed or 'none'}{more}."
            )
        return name.strip("/")
    tables = [key for key, item in found.items() if len(item.shape or ()) >= 2]
    chosen = next((key for key in PREFERRED if key in tables), None)
    if chosen is None and len(tables) == 1:
        chosen = tables[0]
    if chosen is None:
        raise InputError(
            f"Which data set of {path} is meant? Expected one called {', '.join(PREFERRED)}, or a "
            f"single one of two or more dimensions, got {listed or 'none'}{more}; name it with "
            f"--column NAME, or as {path}/NAME."
        )
    return chosen
