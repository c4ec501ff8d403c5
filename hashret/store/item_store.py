"""The database of an index: states to read, transactions to write, and whether it is whole."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from hashret.errors import DamagedIndexError, HashretError
from hashret.store.connection import (
    connect,
    connect_to_write,
    has_log,
    is_writable,
    log_of,
    sqlite_errors,
)
from hashret.store.item_reader import ItemReader
from hashret.store.item_writer import ItemWriter
from hashret.store.lock import WriterLock, is_locked
from hashret.store.migrations import FORMAT, update_schema
from hashret.store.seal import (
    CHUNK_BYTES,
    SEAL_FILE,
    Seal,
    Stamp,
    chunk_checksums,
    chunks_in_log,
    completed,
    fresh_stamp,
    is_settled,
    stamp_of,
    without_chunks,
)

_log = logging.getLogger("hashret")

SAID_FROM_BYTES = 1 << 28
"""Checking a database of so many bytes takes long enough to say so."""


class ItemStore(ItemReader):
    """The database of one index.

    What it reads inside :meth:`reading` belongs to one committed state; :meth:`writing` gives a
    transaction with a connection of its own, so that readers never wait for it.
    """

    def __init__(self, path: Path) -> None:
        """Connect; use :meth:`create` or :meth:`open`."""
        super().__init__(path, connect(path))
        self._connected_to = self._place()
        self._trusted: Stamp | None = None
        self._seal = Seal.read(path.parent)
        self._whole_segments: dict[str, dict[str, Stamp]] = {}

    @classmethod
    def create(cls, path: Path, settings: Mapping[str, Any]) -> ItemStore:
        """Make an empty database with its settings, JSON values by name.

        ``vector_length`` among them says that the feature rows of items, of that length, are kept.
        """
        version = 1 if settings.get("vector_length") is None else FORMAT
        with sqlite_errors(path):
            connection = connect_to_write(path, create=True)
            try:
                connection.execute("begin immediate")
                update_schema(connection)
                connection.execute("commit")
            finally:
                connection.close()
        store = cls(path)
        store._trusted = stamp_of(path)
        with store.writing() as writer:
            writer.change_settings({"format": version, "generation": 0, **settings})
        return store

    @classmethod
    def open(cls, path: Path) -> ItemStore:
        """Open an existing database; whether it is whole is looked at when it is first read.

        Raises:
            DamagedIndexError: the file is missing, no database, or of a newer format.
        """
        store = cls(path)
        try:
            with sqlite_errors(path):
                version = store.setting("format")
                if not isinstance(version, int) or version > FORMAT:
                    raise DamagedIndexError(
                        f"{path} has index format {version!r}; this hashret reads up to format "
                        f"{FORMAT}. Upgrade hashret to open it."
                    )
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def reading(self, *, checked: bool = True) -> Iterator[None]:
        """Hold one committed state: everything read inside belongs to the same moment.

        Args:
            checked: make sure first that nothing but hashret has changed the database.

        Raises:
            DamagedIndexError: something has, and it is not whole any more.
        """
        with sqlite_errors(self.path):
            if self._connection.in_transaction:
                yield
                return
            self._follow_file()
            self._connection.execute("begin")
            try:
                if checked:
                    self._check_file()
                yield
            finally:
                self._connection.execute("rollback")

    @contextmanager
    def writing(self) -> Iterator[ItemWriter]:
        """One transaction: committed and on disk when the block ends, undone when it raises.

        The caller holds the :class:`WriterLock` of the folder.
        """
        with sqlite_errors(self.path):
            self._check_before_writing()
            connection = connect_to_write(self.path)
            try:
                connection.execute("begin immediate")
                writer = ItemWriter(self.path, connection)
                try:
                    update_schema(connection)
                    yield writer
                    writer.count_generation()
                    connection.execute("commit")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("rollback")
                    raise
                seal = self._checkpoint(connection, writer)
            finally:
                connection.close()
        if seal is not None:
            self._seal_anew(seal)

    def _checkpoint(self, connection: sqlite3.Connection, writer: ItemWriter) -> Seal | None:
        """Bring what was committed from the log into the database.

        SQLite would do it whenever a connection closes; done here only, all changes of the file
        are known, and the seal says which chunks they may touch before they do. A reader of an
        older state may hold it up, which the next one makes good.
        """
        log = log_of(self.path)
        known: list[int | None] = [*self._seal.chunks] if self._seal is not None else []
        try:
            seal = Seal(
                writer.generation,
                without_chunks(known, chunks_in_log(log)),
                None,
                self._segments_with(writer.new_segments),
                writer.settings(),
            )
            seal.write(self.path.parent)
            self._seal, self._trusted = seal, None
            connection.execute("pragma busy_timeout = 0")
            connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        except (OSError, sqlite3.Error) as error:
            _log.warning(
                "What was written is safe in %s, but could not be moved to %s yet (%s); that is "
                "tried again with the next change.",
                log.name,
                self.path.name,
                error,
            )
            return None
        return seal

    # Whether the database is whole

    def _follow_file(self) -> None:
        """Connect again where another file has taken the place of the one that is open.

        And where nothing can be written, to whatever others have written meanwhile.
        """
        found = self._place()
        if found not in (self._connected_to, None):
            self._connection.close()
            self._connection = connect(self.path)
            self._connected_to = self._place()
            self._trusted = None

    def _place(self) -> object:
        """What changes when the connection does not show the newest state any more."""
        stamp = stamp_of(self.path)
        if stamp is None or is_writable(self.path):
            return stamp and stamp[0]
        return stamp, has_log(self.path)

    def _check_file(self, *, writing: bool = False) -> None:
        """Make sure that the database is as hashret left it, or else that it is whole.

        Raises:
            DamagedIndexError: it is neither.
        """
        found = stamp_of(self.path)
        if found is not None and found == self._trusted:
            return
        self._seal = seal = Seal.read(self.path.parent)
        if seal is not None and seal.database == found:
            self._check_generation(seal)
            self._trusted = found
            return
        if not writing and is_locked(self.path.parent):
            return  # it changes while someone writes: that is looked at when they have finished
        if found is not None and found[1] >= SAID_FROM_BYTES:
            _log.warning("Checking %s, which was copied or changed: once.", self.path)
        if seal is not None and found is not None:
            self._check_chunks(seal)
            self._check_generation(seal)
        if seal is None or None in seal.chunks:
            self._check_rows()
        settled = found is not None and is_settled(found)
        self._trusted = found if settled or writing else None
        if seal is None:
            _log.warning(
                "%s was missing or damaged: every item was checked against its own checksum%s.",
                self.path.parent / SEAL_FILE,
                ", and it was made anew" if is_writable(self.path) else "",
            )
            seal = Seal(self.generation, [], None, {}, self.settings())
        self._seal_if_nobody_writes(seal, writing=writing)

    def _check_chunks(self, seal: Seal) -> None:
        places = self._places_changed(seal)
        if places:
            raise DamagedIndexError(
                f"{self.path} is damaged, or something other than hashret has changed it "
                f"({places[0]}). `hashret verify --repair` keeps every item that is whole; or "
                "restore a copy of the whole folder."
            )

    def _places_changed(self, seal: Seal) -> list[str]:
        try:
            found = chunk_checksums(self.path)
        except OSError as error:
            raise DamagedIndexError(
                f"{self.path} cannot be read ({error.strerror or error}). Restore it from a copy, "
                "or build the index again from its sources."
            ) from error
        if len(found) < len(seal.chunks):
            return [f"it was cut short after byte {len(found) * CHUNK_BYTES:,} or before"]
        return [
            f"bytes {number * CHUNK_BYTES:,} to {(number + 1) * CHUNK_BYTES - 1:,}"
            for number, (one, other) in enumerate(zip_longest(found, seal.chunks, fillvalue=-1))
            if other is not None and one != other
        ]

    def problems(self) -> Iterator[str]:
        """What is wrong with the database: its rows, or else what lies between them."""
        whole = True
        for problem in self.row_problems():
            whole = False
            yield problem
        if whole:
            changed, missing = self.sealed_problems()
            yield from (*changed, *missing)

    def sealed_problems(self, *, writing: bool = False) -> tuple[list[str], list[str]]:
        """What is in the database that hashret has not written, and what it has that is not there.

        While someone else is ``writing``, nobody can tell.
        """
        before = stamp_of(self.path)
        seal = Seal.read(self.path.parent)
        if not writing and is_locked(self.path.parent):
            return [], []
        if seal is None:
            return [f"{SEAL_FILE} is missing or damaged; reading the index renews it"], []
        places = self._places_changed(seal)
        if stamp_of(self.path) != before:
            return [], []  # it was being written, by someone who seals it
        missing = []
        if self.generation < seal.generation:
            missing.append(
                f"{log_of(self.path).name}: state {seal.generation} was committed, "
                f"{self.generation} is left"
            )
        return [f"{self.path.name}: {place}: not as written" for place in places], missing

    def _check_generation(self, seal: Seal) -> None:
        found = self.generation
        if found < seal.generation:
            raise DamagedIndexError(
                f"{log_of(self.path)} is missing or damaged: state {seal.generation} of the index "
                f"was committed, and what is left is state {found}. Restore it together with "
                f"{self.path.name} from a copy, or go on from what is left with `hashret verify "
                "--repair`."
            )

    def _check_rows(self) -> None:
        problems = list(islice(self.row_problems(), 3))
        if problems:
            raise DamagedIndexError(
                f"{self.path} is damaged: {'; '.join(problems)}. `hashret verify` names all that "
                "is, `hashret verify --repair` keeps what is whole; or restore a copy of the whole "
                "folder."
            )

    def _check_before_writing(self) -> None:
        with self.reading(checked=False):
            self._check_file(writing=True)

    # The seal

    def segment_is_known(self, folder: Path, stamps: dict[str, Stamp]) -> bool:
        """Whether the files of a segment, which have these stamps, were found whole with them."""
        if self._whole_segments.get(folder.name) == stamps:
            return True
        return self._seal is not None and self._seal.segments.get(folder.name) == stamps

    def note_whole_segment(self, folder: Path, stamps: dict[str, Stamp]) -> None:
        """Remember that the files of a segment were found whole when they had these stamps."""
        if not all(map(is_settled, stamps.values())):
            return  # it is looked at again next time
        self._whole_segments[folder.name] = stamps
        if self._seal is not None and self._trusted is not None:
            self._seal_if_nobody_writes(self._seal)

    def accept(self) -> None:
        """Seal the database as it is; whoever holds the writer's lock and has checked it may.

        Its settings, which have no checksum, become those of the seal, where it has one.
        """
        seal = Seal.read(self.path.parent)
        with self.reading(checked=False):
            self._seal_anew(Seal(self.generation, [], None, {}, self.settings()))
        if seal is not None:
            own = ("items", "generation")
            with self.writing() as writer:
                kept = {name: value for name, value in seal.settings.items() if name not in own}
                writer.change_settings(kept)

    def _seal_if_nobody_writes(self, seal: Seal, *, writing: bool = False) -> None:
        """Seal files that were found whole; readers do so too, where they may."""
        if writing:
            self._seal_anew(seal)
        elif self._trusted is not None and is_writable(self.path):
            with suppress(HashretError), WriterLock(self.path.parent, patience=0):
                if stamp_of(self.path) == self._trusted:
                    self._seal_anew(seal)

    def _seal_anew(self, seal: Seal) -> None:
        """Seal the database as it lies there; the caller holds the writer's lock.

        Chunks whose checksum is known from ``seal`` are not read again.
        """
        try:
            chunks = completed(seal.chunks, self.path)
            stamp = fresh_stamp(self.path)
            seal = replace(
                seal, chunks=chunks, database=stamp, segments=self._segments_with([], seal)
            )
            seal.write(self.path.parent)
        except OSError as error:
            _log.warning(
                "What was written is safe, but %s could not be sealed (%s): it is checked when it "
                "is opened.",
                self.path.parent,
                error.strerror or error,
            )
            return
        self._seal, self._trusted = seal, stamp

    def _segments_with(
        self, new: list[str], seal: Seal | None = None
    ) -> dict[str, dict[str, Stamp]]:
        """The stamps of all segments that are known to be whole, the ``new`` ones among them."""
        folder = self.path.parent / "segments"
        seal = seal or self._seal
        known = {**({} if seal is None else seal.segments), **self._whole_segments}
        for name in new:
            known[name] = {
                path.name: stamp
                for path in (folder / name).glob("*")
                if (stamp := fresh_stamp(path)) is not None
            }
        return {name: dict(stamps) for name, stamps in known.items() if (folder / name).is_dir()}
