"""Whether the files of an index are as hashret left them: the seal, kept and compared."""

from __future__ import annotations

import logging
import os
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice, zip_longest
from pathlib import Path

from hashret.errors import DamagedIndexError, HashretError
from hashret.files import opened_folder
from hashret.store.connection import connect, is_writable
from hashret.store.item_reader import ItemReader
from hashret.store.item_writer import ItemWriter
from hashret.store.lock import WriterLock, is_locked
from hashret.store.log import LogCheck, bytes_in_log, end_of_log, has_log, log_of
from hashret.store.own_files import SEAL_FILE, UNFINISHED_SEAL
from hashret.store.seal import (
    CHUNK_BYTES,
    Seal,
    Stamp,
    chunk_checksums,
    completed,
    fresh_stamp,
    is_settled,
    stamp_of,
    without_chunks,
)

_log = logging.getLogger("hashret")

SAID_FROM_BYTES = 1 << 28
"""Checking a database of so many bytes takes long enough to say so."""


class Guard:
    """Compares the database and the segments of an index with its seal.

    A file with the stamp that the seal knows is trusted. Any other database is read and compared
    chunk by chunk; one without a seal, or whose writer died while it changed, row by row. What was
    found whole is sealed again, where the folder can be written.
    """

    def __init__(self, path: Path) -> None:
        """Guard the database at ``path`` and the segments beside it."""
        self._path = path
        self._folder = path.parent
        self._seal = Seal.read(self._folder)
        self._trusted: Stamp | None = None
        self._whole_segments: dict[str, dict[str, Stamp]] = {}
        self._log = LogCheck(path)
        self._latest: tuple[Stamp | None, Seal | None] = (None, None)

    def trusts(self, stamp: Stamp | None) -> bool:
        """Whether the database was found whole when it had this stamp."""
        return stamp is not None and stamp == self._trusted

    def trust(self) -> None:
        """Take the database for whole, as the one who has just made it may."""
        self._trusted = stamp_of(self._path)

    def forget(self) -> None:
        """Another file has taken the place of the database."""
        self._trusted = None

    # The database

    def check(self, reader: ItemReader, *, writing: bool = False) -> None:
        """Make sure that the database is as hashret left it, or else that it is whole.

        Args:
            reader: reads the state that is to be trusted.
            writing: whether the caller holds the writer's lock.

        Raises:
            DamagedIndexError: it is neither.
        """
        if writing:
            self._sweep()
        found = stamp_of(self._path)
        if self.trusts(found):
            return
        self._seal = seal = Seal.read(self._folder)
        if seal is not None and seal.database == stamp_of(self._path):
            self._check_course(reader, seal)
            self._trusted = seal.database
            return
        if found is not None and found[1] >= SAID_FROM_BYTES:
            _log.warning("Checking all of %s, which was copied or changed.", self._path)
        if seal is not None:
            places = self._places_changed(seal)
            # While it is brought up to date, the seal knows nothing of the chunks in question.
            if not writing and Seal.read(self._folder) != seal:
                return  # that is looked at the next time
            if places:
                raise DamagedIndexError(
                    f"{self._path} is damaged, or something other than hashret has changed it "
                    f"({places[0]}). `hashret verify --repair` keeps every item that is whole; or "
                    "restore a copy of the whole folder."
                )
            self._check_course(reader, seal)
        if seal is None or None in seal.chunks:
            if not writing and is_locked(self._folder):
                return  # it changes while someone writes: that is looked at when they have finished
            self._check_rows(reader)
        whole = seal or Seal(reader.generation, [], None, {}, reader.settings())
        if stamp_of(self._path) != found:
            return
        if seal is None:
            _log.warning(
                "%s was missing or damaged: every item was checked against its own checksum%s.",
                self._folder / SEAL_FILE,
                ", and it was made anew" if is_writable(self._path) else "",
            )
        if found is not None and (writing or is_settled(found)):
            self._trusted = found
            self._seal_what_was_found(whole, seal, writing=writing)

    def _sweep(self) -> None:
        """Remove the seals that writers who died have not finished."""
        with suppress(OSError), opened_folder(self._folder) as folder:
            with os.scandir(folder) as entries:
                names = [one.name for one in entries if UNFINISHED_SEAL.fullmatch(one.name)]
            for name in names:
                os.unlink(name, dir_fd=folder)

    def check_log(self, reader: ItemReader) -> None:
        """Make sure that the log, if there is one, is as hashret left it; while a state is held.

        Raises:
            DamagedIndexError: it is not.
        """
        if not has_log(self._path):
            return
        generation = reader.generation  # from now on, what is shown stays in the log
        stamp = stamp_of(self._folder / SEAL_FILE)
        if stamp != self._latest[0]:
            self._latest = stamp, Seal.read(self._folder)
        seal = self._latest[1]
        if seal is not None and seal.log is not None and seal.generation == generation:
            self._log.check(seal.log)

    def _places_changed(self, seal: Seal) -> list[str]:
        try:
            found = chunk_checksums(self._path)
        except OSError as error:
            raise DamagedIndexError(
                f"{self._path} cannot be read ({error.strerror or error}). Restore a copy of the "
                "whole folder, or build the index again from its sources."
            ) from error
        if any(chunk is not None for chunk in seal.chunks[len(found) :]):
            return [f"it is cut short after byte {len(found) * CHUNK_BYTES:,} or before"]
        return [
            f"bytes {number * CHUNK_BYTES:,} to {(number + 1) * CHUNK_BYTES - 1:,}"
            for number, (one, other) in enumerate(zip_longest(found, seal.chunks, fillvalue=-1))
            if other is not None and one != other
        ]

    def _check_course(self, reader: ItemReader, seal: Seal) -> None:
        """Refuse a state from before the sealed one, and one that does not follow from it."""
        found = reader.generation
        if found < seal.generation and self._newest_generation() < seal.generation:
            raise DamagedIndexError(
                f"{log_of(self._path)} is missing or damaged: state {seal.generation} of the index "
                f"was committed, and what is left is state {found}. Restore it together with "
                f"{self._path.name} from a copy, or go on from what is left with `hashret verify "
                "--repair`."
            )
        if self._is_foreign(reader, seal):
            raise DamagedIndexError(
                f"{log_of(self._path)} belongs to another index, or to another copy of this one. "
                "Move it elsewhere, or let `hashret verify --repair` do that."
            )

    def _newest_generation(self) -> int:
        """That of the newest state: a reader may still hold one from before the seal."""
        with closing(connect(self._path)) as connection:
            return ItemReader(self._path, connection).generation

    @staticmethod
    def _is_foreign(reader: ItemReader, seal: Seal) -> bool:
        """Whether the state is of another index, or another one with the number of the sealed."""
        same = reader.generation == seal.generation
        names = ("identity", "commit") if same else ("identity",)
        return any(seal.settings.get(name) not in (None, reader.setting(name)) for name in names)

    def is_log_foreign(self, reader: ItemReader) -> bool:
        """Whether the log is not that of the database, which is as it was sealed."""
        seal = Seal.read(self._folder)
        return (
            seal is not None
            and has_log(self._path)
            and not self._places_changed(seal)
            and self._is_foreign(reader, seal)
        )

    def _check_rows(self, reader: ItemReader) -> None:
        problems = list(islice(reader.row_problems(), 3))
        if problems:
            raise DamagedIndexError(
                f"{self._path} is damaged: {'; '.join(problems)}. `hashret verify` names all that "
                "is, `hashret verify --repair` keeps what is whole; or restore a copy of the whole "
                "folder."
            )

    def problems(self, reader: ItemReader, *, writing: bool = False) -> tuple[list[str], list[str]]:
        """What is in the database that hashret has not written, and what it wrote that is gone.

        While someone else is ``writing``, nobody can tell.
        """
        before = stamp_of(self._path)
        seal = Seal.read(self._folder)
        if not writing and is_locked(self._folder):
            return [], []
        if seal is None:
            return [f"{SEAL_FILE} is missing or damaged; reading the index renews it"], []
        places = self._places_changed(seal)
        if stamp_of(self._path) != before:
            return [], []  # it was being written, by someone who seals it
        gone = []
        try:
            self._check_course(reader, seal)
        except DamagedIndexError as error:
            gone.append(str(error))
        return [f"{self._path.name}: {place}: not as written" for place in places], gone

    # Segments

    def knows_segment(self, folder: Path, stamps: dict[str, Stamp]) -> bool:
        """Whether the files of a segment, which have these stamps, were found whole with them."""
        if self._whole_segments.get(folder.name) == stamps:
            return True
        return self._seal is not None and self._seal.segments.get(folder.name) == stamps

    def note_whole_segment(self, folder: Path, stamps: dict[str, Stamp]) -> None:
        """Remember that the files of a segment were found whole when they had these stamps."""
        if not all(map(is_settled, stamps.values())):
            return  # it is looked at again next time
        self._whole_segments[folder.name] = stamps
        if self._seal is not None and self._trusted == self._seal.database:
            self._seal_what_was_found(self._seal, self._seal)

    # The seal

    def announce(self, writer: ItemWriter, *, everywhere: bool = False) -> Seal:
        """Seal what was committed to the log, before it changes the database.

        Args:
            writer: has committed it.
            everywhere: the database will be another one from its first byte to its last.

        Raises:
            OSError: the seal cannot be written.
        """
        known = [] if self._seal is None else self._seal.chunks
        n_chunks = -(-self._path.stat().st_size // CHUNK_BYTES)
        known = [*known, *[None] * (n_chunks - len(known))]
        changing = bytes_in_log(self._path, writer.page_count()) // CHUNK_BYTES
        # Page 1 tells the size of the file, and is written whenever that changes.
        chunks = without_chunks(known, {0, *changing.tolist()})
        seal = Seal(
            writer.generation,
            [None] * len(chunks) if everywhere else chunks,
            None,
            self._segments_with(self._seal, writer.new_segments),
            writer.settings(),
        )
        seal.write(self._folder)
        self._seal, self._trusted = seal, None
        return seal

    def seal(self, seal: Seal) -> None:
        """Seal the database as it lies there; the caller holds the writer's lock.

        Chunks whose checksum is known from ``seal`` are not read again.
        """
        try:
            chunks = completed(seal.chunks, self._path)
            stamp = fresh_stamp(self._path)
            seal = replace(
                seal,
                chunks=chunks,
                database=stamp,
                segments=self._segments_with(seal, []),
                log=end_of_log(self._path),
            )
            seal.write(self._folder)
        except OSError as error:
            _log.warning(
                "What was written is safe, but %s could not be sealed (%s): it is checked when it "
                "is opened.",
                self._folder,
                error.strerror or error,
            )
            return
        self._seal, self._trusted = seal, stamp

    def _seal_what_was_found(
        self, seal: Seal, known: Seal | None, *, writing: bool = False
    ) -> None:
        """Seal files that were found whole: readers may, where nobody writes."""
        if writing:
            self.seal(seal)
        elif is_writable(self._path):
            with suppress(HashretError), WriterLock(self._folder, patience=0, named=False):
                if stamp_of(self._path) == self._trusted and Seal.read(self._folder) == known:
                    self.seal(seal)

    def _segments_with(self, seal: Seal | None, new: list[str]) -> dict[str, dict[str, Stamp]]:
        """The stamps of all segments that are known to be whole, the ``new`` ones among them."""
        folder = self._folder / "segments"
        known = {**({} if seal is None else seal.segments), **self._whole_segments}
        for name in new:
            known[name] = {
                path.name: stamp
                for path in (folder / name).glob("*")
                if (stamp := fresh_stamp(path)) is not None
            }
        return {name: dict(stamps) for name, stamps in known.items() if (folder / name).is_dir()}
