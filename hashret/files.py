"""Files that must outlive a power loss: written whole, flushed to the disk, then named."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hashret.errors import HashretError


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Read a whole file that should be small, and nothing but a file: a pipe would be waited for.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger than ``most_bytes``.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most_bytes:
            raise OSError(
                errno.EFBIG, f"it has more than {most_bytes:,} bytes, which is more than is written"
            )
        return file.read()


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, without waiting where it is a pipe or a device.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    return open(path, "rb", opener=regular_only)


def regular_only(name: str, flags: int) -> int:
    """An opener, for ``open`` and ``FileIO``, of regular files."""
    descriptor = os.open(name, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return descriptor


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is there whole or, if anything fails, as it was before.

    Raises:
        OSError: it cannot be written; no temporary file is left.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


@contextmanager
def whole_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that is at its place, whole, only when the block has ended well.

    Args:
        path: the file.
        overwrite: whether one that is there may be replaced.

    Raises:
        HashretError: it is there already, is a folder, or cannot be written; nothing is left.
    """
    if path.is_dir():
        raise HashretError(f"{path} is a folder; name a file.")
    if not overwrite and os.path.lexists(path):
        raise HashretError(
            f"{path} exists already: name another file, or replace it with --overwrite "
            "(overwrite=True)."
        )
    if not path.absolute().parent.is_dir():
        raise HashretError(
            f"{path} cannot be written: there is no folder {path.absolute().parent}. Make it first."
        )
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, HashretError):
            raise HashretError(
                f"{path} cannot be written ({error.strerror or error}). Nothing is left of it."
            ) from error
        raise
    flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Bring the names in a folder to the disk, after files in it were made or renamed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
