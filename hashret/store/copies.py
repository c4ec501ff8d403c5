"""Copies of an index: what must be so before its files are copied, and when they have been."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from hashret.errors import DamagedIndexError, HashretError
from hashret.store.item_store import ItemStore
from hashret.store.log import has_log, log_of
from hashret.store.own_files import SEAL_FILE
from hashret.store.seal import Seal, chunk_checksums, fresh_stamp, stamp_of


def bring_to_rest(folder: Path) -> list[str]:
    """Make sure that all of an index is in its files, as hashret left them, and that its seal fits.

    The caller holds the writer's lock for as long as it copies them.

    Returns:
        The names of the segments that belong to it.

    Raises:
        DamagedIndexError: it is damaged.
        HashretError: someone reads an older state, so that commits must stay in the log.
    """
    path = folder / "items.db"
    with closing(ItemStore.open(path)) as store:
        if not _is_at_rest(path):
            with store.writing():
                pass  # which compares the database, empties the log and seals what is there
        if not _is_at_rest(path):
            raise HashretError(
                f"{log_of(path)} holds changes that cannot be moved to {path.name} while someone "
                "reads an older state; close whatever reads the index, and try again."
            )
        with store.reading():
            return [name for name, _, _ in store.segments()]


def _is_at_rest(path: Path) -> bool:
    seal = Seal.read(path.parent)
    return (
        seal is not None
        and seal.database == stamp_of(path)
        and None not in seal.chunks
        and not has_log(path)
    )


def seal_copy(folder: Path) -> None:
    """Compare the database of a copy with the seal that came with it, and seal it as it lies here.

    Otherwise everyone who may not write there would compare it each time it is opened.

    Raises:
        DamagedIndexError: they do not belong together.
    """
    path, seal = folder / "items.db", Seal.read(folder)
    if seal is None or chunk_checksums(path) != seal.chunks:
        raise DamagedIndexError(
            f"{path} and {SEAL_FILE} beside it do not belong together: they are of a copy that was "
            "made while someone wrote, or damaged. Copy the whole folder again."
        )
    replace(seal, database=fresh_stamp(path), segments={}, log=None).write(folder)
