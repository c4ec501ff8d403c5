"""The folder of a new index: made beside its place, and there whole or not at all."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hashret.errors import HashretError, IndexExistsError
from hashret.files import flush_folder, folders_named, opened_folder, remove_folder
from hashret.store import WriterLock
from hashret.store.own_files import LOCK_FILE

_ATTEMPTS = 5


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to make an index in, which takes its place when the block ends.

    Where the block raises, nothing is left. It is locked as an index is that is being written to,
    which tells it from what runs that died have left behind.

    Raises:
        IndexExistsError: something is at ``folder`` already.
        HashretError: it cannot be written.
    """
    refuse_existing(folder)
    try:
        with _unfinished_folder(folder) as unfinished:
            yield unfinished
            for made in unfinished.iterdir():
                if made.is_dir():
                    flush_folder(made)
            flush_folder(unfinished)
            refuse_existing(folder)
            unfinished.rename(folder)
            flush_folder(folder.parent)
    except HashretError:
        raise
    except OSError as error:
        raise HashretError(
            f"The index could not be written to {folder} ({error.strerror or error}). Nothing "
            "is left behind; check that the folder above is writable and has room."
        ) from error


def refuse_existing(folder: Path) -> None:
    """Refuse a ``folder`` that is anything but absent or empty.

    Raises:
        IndexExistsError: something is there.
        HashretError: nobody can tell.
    """
    try:
        _refuse_existing(folder)
    except HashretError:
        raise
    except OSError as error:
        raise HashretError(
            f"{folder} cannot be looked into ({error.strerror or error}); choose another place, or "
            "one that you may enter."
        ) from error


def _refuse_existing(folder: Path) -> None:
    if (folder / "items.db").exists():
        raise IndexExistsError(
            f"There is an index at {folder} already. `hashret index` and Index.add add items to "
            "it; to learn anew, choose another name or delete the folder."
        )
    if (folder / "cluster.json").is_file():
        raise IndexExistsError(
            f"{folder} is a cluster, to which `hashret cluster index` adds. Choose another place "
            "for the index."
        )
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise IndexExistsError(
            f"{folder} is not empty and holds no index; choose another place, so that none of "
            "your files are mixed with those of the index."
        )


@contextmanager
def _unfinished_folder(folder: Path) -> Iterator[Path]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    flush_folder(folder.parent.parent)
    prefix = f".{folder.name}.unfinished-"
    unfinished_name = re.compile(rf"{re.escape(prefix)}[0-9a-f]{{8}}")
    with opened_folder(folder.parent) as parent:
        for name in folders_named(unfinished_name, parent):
            with suppress(HashretError), WriterLock(folder.with_name(name)):
                remove_folder(name, parent)
    unfinished, lock = _made_and_locked(folder, prefix)
    try:
        with lock:
            yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _made_and_locked(folder: Path, prefix: str) -> tuple[Path, ExitStack]:
    """A new folder beside ``folder`` and its lock; another one, where it was swept before that."""
    for attempts_left in reversed(range(_ATTEMPTS)):
        unfinished = folder.with_name(f"{prefix}{secrets.token_hex(4)}")
        unfinished.mkdir()
        lock = ExitStack()
        try:
            lock.enter_context(WriterLock(unfinished))
            is_there = (unfinished / LOCK_FILE).exists()
        except HashretError:
            shutil.rmtree(unfinished, ignore_errors=True)
            if not attempts_left:
                raise
            continue
        if is_there:
            return unfinished, lock
        lock.close()
    raise HashretError(f"{folder.parent} is being cleaned by others all the time; try again.")
