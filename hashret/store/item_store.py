"""The database of an index: states to read, and transactions to write."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hashret.errors import UnknownFormatError
from hashret.store.connection import (
    connect,
    connect_to_write,
    has_log,
    is_writable,
    log_of,
    sqlite_errors,
)
from hashret.store.guard import Guard
from hashret.store.item_reader import ItemReader
from hashret.store.item_writer import ItemWriter
from hashret.store.items import RESTORE
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
        super().__init__(path, connect(path))
        self.guard = Guard(path)
        self._file = str(path)
        self._shown = self._newest()
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
            if self._may_fall_behind or not trusted:
                self._show_newest()
            self._connection.execute("begin")
            try:
                if checked and not trusted:
                    self.guard.check(self)
                yield
            finally:
                self._connection.execute("rollback")

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
            self.guard.seal(seal)

    def shrink(self) -> None:
        """Give back the room of what was deleted, if that is a quarter of the file or more.

        The caller holds the writer's lock. It takes the room of the database once more, in the log.
        """
        with sqlite_errors(self.path):
            with self.reading():
                free, pages = self._free_pages()
            if free * SHRUNK_FROM < pages or pages * 4096 < SHRUNK_FROM_BYTES:
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
        newest = self._newest()
        if newest not in (self._shown, None):
            self._connection.close()
            self._connection = connect(self.path)
            self._shown = self._newest()
            self._may_fall_behind = not is_writable(self.path)
            self.guard.forget()

    def _newest(self) -> object:
        """What changes when the connection does not show the newest state any more."""
        stamp = stamp_of(self.path)
        if stamp is None or is_writable(self.path):
            return stamp and stamp[0]
        return stamp, has_log(self.path)

    def problems(self) -> Iterator[str]:
        """What is wrong with the database: its rows, or else what lies between them."""
        whole = True
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
            own = ("items", "generation")
            with self.writing() as writer:
                kept = {name: value for name, value in seal.settings.items() if name not in own}
                writer.change_settings(kept)
