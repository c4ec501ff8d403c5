"""A folder behind a URL, by fsspec: files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hashret.errors import HashretError, UnsafeIndexError
from hashret.files import check_own_entry, flush_folder
from hashret.sources.metadata import printable
from hashret.sources.remote import file_system

UNFINISHED = ".unfinished"
"""The end of the names of files on a mounted file system that are being written."""


class UnreachableError(HashretError):
    """What lies behind a URL cannot be read or written just now."""


class GoneError(UnreachableError):
    """A file is not there any more."""


class RemoteFolder:
    """A folder of an object store, or of a mounted file system.

    An object store has an object whole or not at all. On a mounted file system, files are written
    beside their place, flushed and renamed.

    Attributes:
        url: of the folder.
    """

    def __init__(self, url: str) -> None:
        """Find the file system; nothing is asked of it yet.

        Raises:
            UsageError: fsspec is missing, or what it needs for this kind of URL.
            InputError: no file system of fsspec takes the URL.
        """
        self.url = url
        self._system, self._root = file_system(
            url, "keep the cluster on a file system that all nodes share, and give its path"
        )
        from fsspec.implementations.local import LocalFileSystem

        self._is_mounted = isinstance(self._system, LocalFileSystem)

    def place(self, name: str) -> str:
        """The URL of a file, for messages."""
        return printable(f"{self.url}/{name}")

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None where there is none.

        Raises:
            UnreachableError: nobody can tell.
        """
        try:
            with self._reached(name, "read"):
                return bytes(self._system.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def get(self, name: str, path: Path) -> None:
        """Copy a file to ``path``.

        Raises:
            GoneError: there is none.
            UnreachableError: it cannot be read, or not be written at ``path``.
        """
        try:
            with self._reached(name, "fetched"):
                self._system.get_file(self._path(name), str(path))
        except FileNotFoundError as error:
            raise GoneError(f"{self.place(name)} is not there any more.") from error

    def put(self, path: Path, name: str) -> None:
        """Copy the file at ``path`` here.

        Raises:
            UnreachableError: it cannot be written.
        """
        with self._reached(name, "written"), self._written(name) as target:
            self._system.put_file(str(path), target)

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a small file.

        Raises:
            UnreachableError: it cannot be written.
        """
        with self._reached(name, "written"), self._written(name) as target:
            self._system.pipe_file(target, content)

    def is_mounted(self) -> bool:
        """Whether a file that is not found is not there, and not on a disk that is missing.

        Where nothing is mounted, there is an empty folder, or none.
        """
        if not self._is_mounted:
            return True  # a store that answered
        try:
            root = Path(self._root)
            return any((root if root.is_dir() else root.parent).iterdir())
        except OSError:
            return False

    def entries(self) -> list[str]:
        """The names of files and folders directly in it, but for unfinished files.

        Raises:
            UnreachableError: nobody can tell.
        """
        try:
            with self._reached("", "listed"):
                self._system.invalidate_cache()
                found = [str(one).rstrip("/") for one in self._system.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []
        names = {one[len(self._root) :].strip("/") for one in found if one != self._root}
        return sorted(name for name in names if not name.endswith(UNFINISHED))

    def names(self, folder: str) -> list[str]:
        """The files below a folder, relative to it.

        Raises:
            UnreachableError: nobody can tell.
        """
        path = self._path(folder)
        try:
            with self._reached(folder, "listed"):
                self._system.invalidate_cache()
                found = _files_in(path) if self._is_mounted else self._system.find(path)
                found = [str(one) for one in found]
        except FileNotFoundError:
            return []
        return [one[len(path) :].lstrip("/") for one in found]

    def remove(self, names: Sequence[str]) -> None:
        """Remove files, and of a mounted file system the folders that are empty then.

        Raises:
            UnreachableError: some could not be removed.
        """
        if not names:
            return
        with suppress(FileNotFoundError), self._reached(names[0], "removed"):
            self._system.rm([self._path(name) for name in names])
        if self._is_mounted:
            for folder in {Path(self._path(name)).parent for name in names}:
                _remove_empty(folder, Path(self._root))

    def _path(self, name: str) -> str:
        """Where a name lies; on a mounted file system, no part of it may lead elsewhere.

        Raises:
            UnsafeIndexError: one could.
        """
        parts = name.split("/")
        if ".." in parts:
            raise UnsafeIndexError(f"{self.place(name)} lies outside of {printable(self.url)}.")
        if self._is_mounted:
            path = Path(self._root)
            for part in parts:
                path /= part
                check_own_entry(path)
        return f"{self._root}/{name}"

    @contextmanager
    def _written(self, name: str) -> Iterator[str]:
        """Where to write what is to be found under a name."""
        place = self._path(name)
        if not self._is_mounted:
            yield place
            return
        path = Path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = f"{place}.{secrets.token_hex(4)}{UNFINISHED}"
        try:
            yield unfinished
            with open(unfinished, "rb") as file:  # noqa: PTH123 - a path of fsspec's
                os.fsync(file.fileno())
            self._system.mv(unfinished, place)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        flush_folder(path.parent)
        flush_folder(path.parent.parent)

    @contextmanager
    def _reached(self, name: str, done: str) -> Iterator[None]:
        try:
            yield
        except HashretError:
            raise
        except Exception as error:  # fsspec's file systems raise anything.
            if isinstance(error, FileNotFoundError) and done != "written":
                raise
            reason = printable(str(error)) or type(error).__name__
            raise UnreachableError(
                f"{self.place(name)} cannot be {done}: {reason.rstrip('.')}. Check that this "
                "machine can reach the store, is let in, and finds room there."
            ) from error


def _remove_empty(folder: Path, root: Path) -> None:
    with suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def _files_in(folder: str) -> list[str]:
    """The regular files below a folder; links are not followed.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not os.path.lexists(folder):
        raise FileNotFoundError(folder)
    return [
        str(path)
        for place, _, names in os.walk(folder)
        for path in (Path(place, name) for name in names)
        if stat.S_ISREG(path.lstat().st_mode)
    ]
