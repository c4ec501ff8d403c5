"""The database of an index: states to read, and transactions to write."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hashret.errors import DamagedIndexError, HashretError, IndexChangedError, UnknownFormatError
from hashret.store.connection import (
    connect,
    connect_to_write,
    is_writable,
    sqlite_errors,
)
from hashret.store.guard import Guard
from hashret.store.item_reader import ItemReader
from hashret.store.item_writer import ItemWriter
from hashret.store.items import RESTORE
from hashret.store.log import has_log, log_of
from hashret.store.migrations import FORMAT, OLDEST_FORMAT, update_schema
from hashret.store.seal import Seal, stamp_of

_log = logging.getLogger("hashret")

SHRUNK_FROM = 4
"""A database of which more than one page in so many is free is written anew, without them."""

SHRUNK_FROM_BYTES = 1 << 22
"""Smaller ones are left alone."""


class ItemStore(ItemReader):
    """The database of one index.

    What it reads inside :meth:`reading` belongs to one committed state; :meth:`writing` gives a
    transaction with a connection of its own, so that readers never wait for it.

    Attributes:
        guard: knows whether the files are as hashret left them.
    """

    def __init__(self, path: Path) -> None:
        """Connect; use :meth:`create` or :meth:`open`."""
        self._shown = _newest(path)
        super().__init__(path, connect(path))
        self.guard = Guard(path)
        self._file = str(path)
        self._identity: object = None
        self._may_fall_behind = not is_writable(path)

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
        store.guard.trust()
        with store.writing() as writer:
            writer.change_settings({"format": version, "generation": 0, **settings})
        return store

    @classmethod
    def open(cls, path: Path) -> ItemStore:
        """Open an existing database; whether it is whole is looked at when it is first read.

        Raises:
            DamagedIndexError: the file is missing or no database.
            UnknownFormatError: it is of a newer format.
        """
        store = cls(path)
        try:
            with sqlite_errors(path):
                version, maker = store.setting("format"), store.setting("hashret")
                store._identity = store.setting("identity")
            if type(version) is not int or not OLDEST_FORMAT <= version <= FORMAT:
                raise UnknownFormatError(
                    str(path),
                    version,
                    (OLDEST_FORMAT, FORMAT),
                    f"Open it with the version that made it or a newer one. {RESTORE}",
                    maker,
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
            trusted = self.guard.trusts(stamp_of(self._file))
            try:
                if self._may_fall_behind or not trusted:
                    self._show_newest()
                self._connection.execute("begin")
                if checked:
                    self._check(trusted=trusted)
                yield
            except (sqlite3.Error, HashretError) as error:
                self._refuse_what_changed(error)
                raise
            else:
                self._refuse_what_changed(None)
            finally:
                self._connection.rollback()

    def _check(self, *, trusted: bool) -> None:
        """Make sure that what is shown is what hashret has written, and of the same index."""
        self.guard.check_log(self)
        if trusted:
            return
        self.guard.check(self)
        identity = self.setting("identity")
        if self._identity not in (None, identity):
            self.guard.forget()
            raise HashretError(
                f"{self.path.parent} was replaced by another index while it was open; open it "
                "again."
            )
        self._identity = identity

    def _refuse_what_changed(self, error: Exception | None) -> None:
        """Where there can be no locks, what was read while someone wrote belongs to no state."""
        if self._may_fall_behind and _newest(self.path) != self._shown:
            raise IndexChangedError(
                f"{self.path.parent} was changed while it was read; ask again."
            ) from error

    @contextmanager
    def writing(self) -> Iterator[ItemWriter]:
        """One transaction: committed and on disk when the block ends, undone when it raises.

        The caller holds the :class:`WriterLock` of the folder.
        """
        with sqlite_errors(self.path):
            with self.reading(checked=False):
                self.guard.check(self, writing=True)
            connection = connect_to_write(self.path)
            try:
                connection.execute("begin immediate")
                writer = ItemWriter(self.path, connection)
                try:
                    update_schema(connection)
                    yield writer
                    self._commit(connection, writer)
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("rollback")
                    raise
                seal = self._checkpoint(connection, writer)
            finally:
                connection.close()
        if seal is not None:
            self.guard.seal(seal)

    def _commit(self, connection: sqlite3.Connection, writer: ItemWriter) -> None:
        """Commit, or see to it that the state before stays.

        Where the log cannot be flushed, a whole commit may lie in it all the same, and be found by
        whoever opens it next. Another commit, of nothing, is written over it.
        """
        writer.count_generation()
        try:
            connection.execute("commit")
        except sqlite3.Error as error:
            if error.sqlite_errorname != "SQLITE_IOERR_FSYNC":
                raise
            try:
                if connection.in_transaction:
                    connection.execute("rollback")
                connection.execute("begin immediate")
                ItemWriter(self.path, connection).count_generation()
                connection.execute("commit")
            except sqlite3.Error as again:
                raise HashretError(
                    f"{log_of(self.path)} could not be flushed to the disk ({again}). Whether the "
                    "change was made shows when the index is read again; check the disk first."
                ) from again
            raise

    def shrink(self, *, thinned: bool = False) -> None:
        """Give back the room of what was deleted, if that is a quarter of the file or more.

        Args:
            thinned: so much was deleted, but from everywhere: all pages hold something still.

        The caller holds the writer's lock. It takes the room of the database once more, in the log.
        """
        with sqlite_errors(self.path):
            with self.reading():
                free, pages = self.free_page_count(), self.page_count()
            is_loose = thinned or free * SHRUNK_FROM >= pages
            if not is_loose or pages * 4096 < SHRUNK_FROM_BYTES:
                return
            connection = connect_to_write(self.path)
            try:
                connection.execute("vacuum")
                seal = self._checkpoint(connection, ItemWriter(self.path, connection), True)
            finally:
                connection.close()
        if seal is not None:
            self.guard.seal(seal)

    def _checkpoint(
        self, connection: sqlite3.Connection, writer: ItemWriter, everywhere: bool = False
    ) -> Seal | None:
        """Bring what was committed from the log into the database.

        SQLite would do it whenever a connection closes; done here only, all changes of the file
        are known, and the seal says which chunks they may touch before they do. A reader of an
        older state may hold it up, which the next one makes good.
        """
        try:
            seal = self.guard.announce(writer, everywhere=everywhere)
            connection.execute("pragma busy_timeout = 0")
            connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        except (OSError, sqlite3.Error) as error:
            _log.warning(
                "What was written is safe in %s, but could not be moved to %s yet (%s); that is "
                "tried again with the next change.",
                log_of(self.path).name,
                self.path.name,
                error,
            )
            return None
        return seal

    def _show_newest(self) -> None:
        """Connect again where another file has taken the place of the one that is open.

        And where nothing can be written, to whatever others have written meanwhile.
        """
        newest = _newest(self.path)
        if newest != self._shown:
            connection = connect(self.path)
            self._connection.close()
            self._connection, self._shown = connection, newest
            self._may_fall_behind = not is_writable(self.path)
            self.guard.forget()

    def problems(self) -> Iterator[str]:
        """What is wrong with the database: its rows, or else what lies between them."""
        whole = True
        try:
            self.guard.check_log(self)
        except DamagedIndexError as error:
            whole = False
            yield str(error)
        for problem in self.row_problems():
            whole = False
            yield problem
        if whole:
            changed, gone = self.guard.problems(self)
            yield from (*changed, *gone)

    def accept(self) -> None:
        """Seal the database as it is; whoever holds the writer's lock and has checked it may.

        Its settings, which have no checksum, become those of the seal, where it has one.
        """
        seal = Seal.read(self.path.parent)
        with self.reading(checked=False):
            self.guard.seal(Seal(self.generation, [], None, {}, self.settings()))
        if seal is not None:
            own = ("items", "generation", "commit")
            with self.writing() as writer:
                kept = {name: value for name, value in seal.settings.items() if name not in own}
                writer.change_settings(kept)


def _newest(path: Path) -> object:
    """What changes when a connection to a database does not show the newest state any more."""
    stamp = stamp_of(path)
    if stamp is None or is_writable(path):
        return stamp and stamp[0]
    return stamp, has_log(path)
