"""Files that outlive a power loss, and folders of unknown origin that lead nowhere else."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from hashret.errors import HashretError, UnsafeIndexError

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
    try:
        descriptor = os.open(name, flags | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise OSError(errno.EINVAL, "not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return descriptor


def own_only(name: str, flags: int) -> int:
    """An opener of regular files that follows no symbolic link."""
    return regular_only(name, flags | os.O_NOFOLLOW)


def open_lock(path: Path) -> FileIO:
    """Open a file to lock it, and make it if it is not there; nothing is written to it.

    Raises:
        OSError: it cannot be opened, is a link or no regular file, or has another hard link.
    """
    descriptor = own_only(os.fspath(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    file = FileIO(descriptor, "r+")
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise OSError(errno.EMLINK, "it has another hard link")
    return file


def _all_names(_: str) -> bool:
    return True


def check_own(
    folder: str | os.PathLike[str],
    is_own: Callable[[str], bool] = _all_names,
    in_place: Container[str] = (),
    deep: Container[str] | None = None,
) -> None:
    """Refuse a folder in which anything is not a regular file or a folder, at any depth.

    Args:
        folder: one that is not there is left to whoever opens it.
        is_own: which names directly in it are looked at; others are never opened.
        in_place: names of files that are written in place, so that another hard link to one would
            change with it.
        deep: names of the folders that are looked into; None for all.

    Raises:
        UnsafeIndexError: a link, a pipe, a socket or a device is in it.
        HashretError: it cannot be listed, but entered.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_own(entry.name):
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # those of readers come and go
                        _check_own_file(entry, in_place)
                elif deep is None or entry.name in deep:
                    check_own(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if isinstance(error, PermissionError) and not os.access(folder, os.X_OK):
            return  # then nothing in it can be opened either
        raise HashretError(
            f"{folder} cannot be listed ({error.strerror or error}); an index is used by those who "
            "may list its folder."
        ) from error


def _check_own_file(entry: os.DirEntry[str], in_place: Container[str]) -> None:
    if entry.is_file(follow_symlinks=False) and entry.name not in in_place:
        return
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise _unsafe(entry.path, status.st_mode)
    if status.st_nlink > 1 and os.access(entry.path, os.W_OK):
        raise UnsafeIndexError(
            f"{entry.path} has {status.st_nlink} hard links: what is written into it would change "
            "the other file, too. Copy the index and use the copy: cp -r INDEX COPY"
        )


def check_own_entry(path: Path) -> None:
    """Refuse a link, or anything but a regular file or a folder; what is not there is fine.

    Raises:
        UnsafeIndexError: it is one.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise _unsafe(str(path), mode)


def _unsafe(path: str, mode: int) -> UnsafeIndexError:
    if stat.S_ISLNK(mode):
        return UnsafeIndexError(
            f"{path} is a symbolic link. It is refused, because it could lead outside of the "
            "index. If you trust the index, copy it without links and use the copy: "
            "cp -rL INDEX COPY"
        )
    kind = _KINDS.get(stat.S_IFMT(mode), "a special file")
    return UnsafeIndexError(
        f"{path} is {kind}, not a regular file, and does not belong in an index. If you trust the "
        "index, delete it."
    )


@contextmanager
def opened_folder(path: str | os.PathLike[str], dir_fd: int | None = None) -> Iterator[int]:
    """A descriptor of a folder, which stays the same one whatever happens to its name.

    Args:
        path: the folder; a symbolic link to one is refused where ``dir_fd`` is given.
        dir_fd: the descriptor of the folder that it lies in.

    Raises:
        OSError: there is no such folder, or it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(path, flags | (os.O_NOFOLLOW if dir_fd is not None else 0), dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def folders_named(pattern: re.Pattern[str], descriptor: int) -> list[str]:
    """The names of the folders, and no links to any, in an open folder that match as a whole.

    Raises:
        OSError: it cannot be listed.
    """
    with os.scandir(descriptor) as entries:
        return [
            entry.name
            for entry in entries
            if pattern.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        ]


def remove_folder(name: str, descriptor: int) -> None:
    """Remove a folder in an open one with all in it, as far as possible; links are not followed."""
    with suppress(OSError):
        shutil.rmtree(name, dir_fd=descriptor)


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
