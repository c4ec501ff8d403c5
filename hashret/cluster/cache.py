"""The folder of this machine for copies of what lies behind URLs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashret.errors import HashretError
from hashret.files import (
    flush_folder,
    folders_named,
    open_lock,
    opened_folder,
    remove_folder,
)

CACHE_VARIABLE = "HASHRET_CACHE"
"""Environment: another folder for the copies."""

FETCH_LOCK = "fetch.lock"
"""Held by whoever brings a version to the folder of a shard."""

_UNFINISHED = ".unfinished-"
_UNFINISHED_NAME = re.compile(rf"{re.escape(_UNFINISHED)}[0-9a-f]{{8}}")
VERSION_NAME = re.compile(r"[0-9]+-[0-9a-z]+")
"""The folder of a version; see :class:`hashret.cluster.versions.Version`."""


def cache_of(url: str) -> Path:
    """The folder for the copies of what lies behind a URL; it may not be there yet.

    Raises:
        HashretError: this user has no home.
    """
    return _cache() / "clusters" / hashlib.sha256(url.encode()).hexdigest()[:16]


def _cache() -> Path:
    try:
        if own := os.environ.get(CACHE_VARIABLE):
            return Path(own).expanduser().absolute()
        common = os.environ.get("XDG_CACHE_HOME")
        return (Path(common) if common else Path.home() / ".cache").absolute() / "hashret"
    except RuntimeError as error:
        raise HashretError(
            f"There is no home folder to keep copies of shards in; name a folder with "
            f"{CACHE_VARIABLE}."
        ) from error


@contextmanager
def writing_cache(folder: Path) -> Iterator[None]:
    """Say what to do where copies cannot be written."""
    try:
        yield
    except HashretError:
        raise
    except OSError as error:
        raise HashretError(
            f"The copies of shards in {folder} cannot be written ({error.strerror or error}); "
            f"make room there, or name another folder with {CACHE_VARIABLE}."
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only one, of all processes and threads, in a block with this lock; wait for others.

    Raises:
        OSError: the lock cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lock(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_at_once(path: Path) -> Iterator[None]:
    """As :func:`locked`, but without waiting.

    Raises:
        OSError: someone else has the lock, or it cannot be made.
    """
    with open_lock(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def unfinished_beside(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of ``folder`` when the block ends; else nothing is left.

    What earlier runs that died have left is removed: the caller holds the lock.

    Raises:
        OSError: it cannot be made, or something is at ``folder``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with opened_folder(folder.parent) as parent:
        for dead in folders_named(_UNFINISHED_NAME, parent):
            remove_folder(dead, parent)
    unfinished = _unfinished_name(folder)
    unfinished.mkdir()
    try:
        yield unfinished
        for made, _, _ in os.walk(unfinished):
            flush_folder(Path(made))
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    flush_folder(folder.parent)


def _unfinished_name(folder: Path) -> Path:
    return folder.with_name(f"{_UNFINISHED}{secrets.token_hex(4)}")


class Held:
    """A folder that nobody may remove while it is held: by the kernel, which lets go at the end.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: Path, descriptor: int) -> None:
        """Use :meth:`take`."""
        self.folder = folder
        self._descriptor = descriptor
        self._let_go = weakref.finalize(self, os.close, descriptor)

    @classmethod
    def take(cls, folder: Path) -> Held | None:
        """Hold a folder; None where it is not there, or about to be removed."""
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return None
        held = cls(folder, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError:
            pass  # a file system without locks: then nobody can take the one to remove it either
        return held if held.is_there() else None

    def is_there(self) -> bool:
        """Whether the folder is still the one that was held."""
        try:
            return os.path.samestat(self.folder.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def release(self) -> None:
        """Let it be removed."""
        self._let_go()


def remove_unless_held(folder: Path) -> None:
    """Remove a folder that nobody holds; at once for whoever looks for it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            removed = _unfinished_name(folder)
            folder.rename(removed)
        finally:
            os.close(descriptor)
        shutil.rmtree(removed, ignore_errors=True)


def remove_at_once(folder: Path) -> None:
    """Remove a folder, though others may have files of it open."""
    with suppress(OSError):
        removed = _unfinished_name(folder)
        folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)


def remove_copies(folder: Path) -> None:
    """Remove the copies of the versions of a shard, and all else of it, if nobody reads one."""
    with suppress(OSError), locked_at_once(folder / FETCH_LOCK):
        versions = versions_in(folder)
        for version in versions:
            remove_unless_held(version)
        if not any(version.exists() for version in versions):
            remove_at_once(folder)


def versions_in(folder: Path) -> list[Path]:
    """The folders of the versions of a shard that are copied here.

    Raises:
        OSError: they cannot be listed.
    """
    with opened_folder(folder) as descriptor:
        return [folder / name for name in folders_named(VERSION_NAME, descriptor)]
