"""Paths into files that hold others: ``photos.zip/cats/1.jpg``, ``sift.hdf5/test``."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

ARCHIVE_SUFFIXES = (
    ".zip",
    ".tar",
    *(".tar.gz", ".tgz"),
    *(".tar.bz2", ".tbz2"),
    *(".tar.xz", ".txz"),
)
HDF5_SUFFIXES = (".hdf5", ".h5")


class Inside(NamedTuple):
    """A file on disk, and the name of what is meant in it."""

    file: str
    name: str


def is_archive_name(name: str) -> bool:
    """Whether a file of this name is taken for an archive."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def is_hdf5_name(name: str) -> bool:
    """Whether a file of this name is taken for an HDF5 file."""
    return name.lower().endswith(HDF5_SUFFIXES)


def split_inside(path: str) -> Inside | None:
    """The file that a path leads into, and what it names there; None where it leads into none.

    The name is what follows, as it is: ``..`` in it means nothing.
    """
    end = path.find("/", 1)
    while end != -1:
        file = path[:end]
        if file.lower().endswith((*ARCHIVE_SUFFIXES, *HDF5_SUFFIXES, ".npz")):
            try:
                if stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116, a Path would tidy the name
                    return Inside(file, path[end + 1 :])
            except (OSError, ValueError):
                return None
        end = path.find("/", end + 1)
    return None
