"""Whether an index is whole, and what can be made whole again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hashret.errors import DamagedIndexError, HashretError, UnknownFormatError
from hashret.index.reader import Reader
from hashret.index.snapshot import TablesProgress, publish_all, segment_problems, without_remedy
from hashret.index.trained_encoder import TrainedEncoder
from hashret.search import CodeIndex
from hashret.store import ItemStore, WriterLock
from hashret.store.connection import is_writable
from hashret.store.migrations import FORMAT
from hashret.store.own_files import SEAL_FILE
from hashret.store.salvage import keep_damaged, remove_log, salvage
from hashret.store.seal import Seal, stamp_of


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What :meth:`hashret.Index.verify` found.

    Attributes:
        problems: one line for each thing that is damaged, naming the file; empty when all is well.
        items: how many items were checked.
        segments: how many segments were checked.
    """

    problems: list[str]
    items: int
    segments: int

    @property
    def ok(self) -> bool:
        """Nothing is damaged."""
        return not self.problems


def verify(reader: Reader, encoder: TrainedEncoder, folder: Path) -> VerifyReport:
    """Check every item, segment and encoder file against its checksum.

    Nothing is changed, but that a missing or damaged seal is made anew if all items are whole.
    """
    store = reader.store
    with reader.state(checked=False):
        if not (folder / SEAL_FILE).exists():
            _renew_seal(store, folder)
        problems = list(store.problems())
        items = segments = 0
        try:
            items, segments = store.count(), len(store.segments())
            problems += _segment_problems(store, folder)
        except HashretError as error:
            problems.append(str(error))
        _renew_seal(store, folder)  # a damaged one is told, once
    return VerifyReport(problems + encoder.problems(), items, segments)


def _renew_seal(store: ItemStore, folder: Path) -> None:
    """Seal an index without a readable seal, as older ones have none, if its items are whole."""
    if Seal.read(folder) is not None or not is_writable(store.path):
        return
    before = stamp_of(store.path)
    if not any(store.row_problems()):
        with suppress(HashretError), WriterLock(folder, patience=0, named=False):
            if Seal.read(folder) is None and stamp_of(store.path) == before:
                store.accept()


def _segment_problems(store: ItemStore, folder: Path) -> list[str]:
    problems = []
    for name, _, _ in store.segments():
        try:
            damage = segment_problems(store, CodeIndex.open(folder / "segments" / name))
        except HashretError as error:
            damage = [str(error)]
        problems += [f"{without_remedy(line)} `hashret compact` rebuilds it." for line in damage]
    return problems


@dataclass(frozen=True)
class RepairReport:
    """What :meth:`hashret.Index.repair` did.

    Attributes:
        repaired: one line for each thing that was made anew.
        lost: one line for each thing that only a copy, or the sources, can bring back.
        items: how many items the index holds now.
    """

    repaired: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    items: int = 0

    @property
    def ok(self) -> bool:
        """Nothing was lost."""
        return not self.lost


def repair(folder: Path, progress: TablesProgress) -> RepairReport:
    """Rebuild what is derived, and save of the database every item that matches its checksum.

    Raises:
        DamagedIndexError: nothing of the database can be saved; nothing was changed.
        IndexLockedError: another process is writing.
    """
    repaired: list[str] = []
    lost: list[str] = []
    path = folder / "items.db"
    with WriterLock(folder):
        rebuild = _repair_database(path, repaired, lost)
        store = ItemStore.open(path)
        try:
            with store.reading():
                damaged = _segment_problems(store, folder)
            if damaged or rebuild:
                publish_all(store, folder, progress)
                repaired.append("segments: rebuilt from items.db")
            items = store.count()
            lost += TrainedEncoder.of_index(folder, store).problems()
        finally:
            store.close()
    return RepairReport(repaired, lost, items)


def _is_newer(error: DamagedIndexError) -> bool:
    return isinstance(error, UnknownFormatError) and error.is_newer


def _was_known(folder: Path) -> bool:
    """Whether the seal says that a newer format is damage: this hashret reads what was sealed."""
    seal = Seal.read(folder)
    sealed = None if seal is None else seal.settings.get("format")
    return isinstance(sealed, int) and sealed <= FORMAT


def _part_with_foreign_log(path: Path, lost: list[str]) -> None:
    """Where the log belongs to another index, move it out of the way."""
    store = ItemStore.open(path)
    try:
        with store.reading(checked=False):
            is_foreign = store.guard.is_log_foreign(store)
    finally:
        store.close()
    if is_foreign:
        kept = keep_damaged(path)
        remove_log(path)
        lost.append(f"{path.name}-wal: it belongs to another index or copy, and is now in {kept}")


def _repair_database(path: Path, repaired: list[str], lost: list[str]) -> bool:
    """Make the database whole; returns whether segments must be made anew."""
    try:
        _part_with_foreign_log(path, lost)
        store = ItemStore.open(path)
        try:
            with store.reading(checked=False):
                is_whole = not any(store.row_problems())
                if is_whole and Seal.read(path.parent) is None:
                    store.accept()
                    repaired.append("seal.json: made anew, for every item matches its checksum")
                changed, gone = store.guard.problems(store, writing=True)
            if is_whole and (changed or gone):
                store.accept()
        finally:
            store.close()
    except DamagedIndexError as error:
        if not path.is_file() or (_is_newer(error) and not _was_known(path.parent)):
            raise
        is_whole = False
    if not is_whole:
        saved = salvage(path)
        repaired.append(
            f"items.db: made anew with {saved.kept:,} items; the damaged file is in {saved.folder}"
        )
        lost += saved.lost
        store = ItemStore.open(path)
        try:
            store.accept()
        finally:
            store.close()
        return True
    lost += gone
    if changed:
        repaired.append(
            f"items.db: taken as it is, for every item matches its checksum ({changed[0]}"
            f"{' and more' * (len(changed) > 1)}); where items came from has none"
        )
    return bool(changed or gone)
