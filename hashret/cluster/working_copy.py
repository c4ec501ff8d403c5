"""The copy of a shard on this machine in which it is changed, and how it becomes a version."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from hashret.cluster.cache import (
    locked,
    locked_at_once,
    remove_at_once,
    unfinished_beside,
    writing_cache,
)
from hashret.cluster.fetching import fetch
from hashret.cluster.remote_folder import UNFINISHED, RemoteFolder, UnreachableError
from hashret.cluster.versions import CURRENT_FILE, VERSION_FILE, Version, number_of
from hashret.errors import HashretError, IndexChangedError
from hashret.files import write_durably
from hashret.index.folder import has_items
from hashret.store import WriterLock
from hashret.store.copies import bring_to_rest
from hashret.store.seal import Seal

_log = logging.getLogger("hashret")

_INDEX = "index"
_LOCK = "lock"


@dataclass(frozen=True)
class _Origin:
    """Which version a working copy goes on from.

    Attributes:
        version: its name; None where there was none.
        generation: that of its database.
        next: the name of the version that it was about to become, or has.
    """

    version: str | None
    generation: int
    next: str | None = None

    def leads_to(self, version: Version | None) -> bool:
        """Whether a version is this one, or the next one."""
        name = None if version is None else version.name
        return name == self.version or (name is not None and name == self.next)


class WorkingCopy:
    """An index that is changed on this machine; others see it when it is published.

    ``<cache>/index/`` is the index, ``origin.json`` names the version from which it goes on.
    """

    def __init__(self, remote: RemoteFolder, shard: str, cache: Path, near: Path) -> None:
        """Keep the copy of a ``shard`` in ``cache``; below ``near`` may lie the same files."""
        self._remote = remote
        self._shard = shard
        self._cache = cache
        self._near = near
        self.folder = cache / _INDEX

    def up_to_date(self) -> Path:
        """The folder, in which everything is that was ever published; absent if nothing was.

        Raises:
            HashretError: the newest version cannot be had, or the folder cannot be written.
        """
        with self._alone():
            current = self._current()
            origin = self._origin()
            if origin is None or not origin.leads_to(current):
                self._replace(current, origin)
            elif current is not None and current.name == origin.next:
                self._note(_origin_of(current))
            return self.folder

    def publish(self, *, whole: bool = False) -> None:
        """Make a version of what is there, which must be closed.

        Args:
            whole: send all files, though older versions have some of them.

        Raises:
            HashretError: it cannot be published; the version before stays the newest.
        """
        with self._alone():
            origin = self._origin()
            if origin is None or not has_items(self.folder):
                raise HashretError(
                    f"There is nothing to publish for {self._remote.place(self._shard)}: no index "
                    f"was made in {self.folder}."
                )
            with WriterLock(self.folder):
                segments = bring_to_rest(self.folder)
                before = self._current()
                self._check_goes_on(origin, before)
                after = Version.after(before, self.folder, segments, sharing=not whole)
                if before is not None and before.is_like(after) and not whole:
                    self._note(_origin_of(before))
                    return
                self._note(_origin_of(before, after.name))
                self._send(after)
                self._check_goes_on(origin, self._current())
                self._remote.write(f"{self._shard}/{CURRENT_FILE}", after.to_json())
                self._note(_origin_of(after))
        if before is not None:
            self._sweep(before, after)

    def is_newest(self) -> bool:
        """Whether nobody else has published the shard since this was up to date, or published.

        Raises:
            UnreachableError: nobody can tell.
            DamagedIndexError: what tells it is damaged.
        """
        origin = self._origin()
        return origin is not None and origin.leads_to(self._current())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with writing_cache(self._cache), locked(self._cache / _LOCK):
            yield

    def _current(self) -> Version | None:
        name = f"{self._shard}/{CURRENT_FILE}"
        content = self._remote.read(name)
        return None if content is None else Version.from_json(content, self._remote.place(name))

    def _replace(self, current: Version | None, origin: _Origin | None) -> None:
        if self.folder.exists():
            with WriterLock(self.folder):
                seal = Seal.read(self.folder)
                if origin is None or seal is None or seal.generation != origin.generation:
                    _log.warning(
                        "What was changed in %s and never published is dropped, for %s does not "
                        "go on from there: another node published it. Give the same sources again.",
                        self.folder,
                        self._remote.place(self._shard),
                    )
                self._origin_file.unlink(missing_ok=True)
                shutil.rmtree(self.folder)
        self._origin_file.unlink(missing_ok=True)
        if current is not None:
            near = sorted(self._near.glob("*-*"), reverse=True)
            with unfinished_beside(self.folder) as unfinished:
                fetch(self._remote, self._shard, current, unfinished, near)
        self._note(_origin_of(current))

    def _check_goes_on(self, origin: _Origin, current: Version | None) -> None:
        if not origin.leads_to(current):
            raise IndexChangedError(
                f"{self._remote.place(self._shard)} has version "
                f"{current.name if current else 'none'}, which another node published meanwhile; "
                f"what was changed here goes on from {origin.version or 'none'} and was not "
                "published. Give the same sources again."
            )

    def _send(self, version: Version) -> None:
        """Upload what is new in a version, without naming it yet."""
        for name, file in version.own().items():
            self._remote.put(self.folder / name, f"{self._shard}/{file.at}")
        self._remote.write(f"{self._shard}/{version.name}/{VERSION_FILE}", version.to_json())

    def _sweep(self, before: Version, after: Version) -> None:
        """Remove what only versions older than ``before`` have, and what was never finished."""
        kept = before.places() | after.places()
        try:
            gone = [
                f"{self._shard}/{name}"
                for name in self._remote.names(self._shard)
                if name not in kept and self._is_old(name, before)
            ]
            self._remote.remove(gone)
        except UnreachableError as error:
            _log.warning("%s It is removed when the shard is published again.", error)

    @staticmethod
    def _is_old(name: str, before: Version) -> bool:
        version, _, inside = name.partition("/")
        if not inside:
            return name.endswith(UNFINISHED)
        return 0 < number_of(version) < before.number

    # Where it goes on from

    @property
    def _origin_file(self) -> Path:
        return self._cache / "origin.json"

    def _origin(self) -> _Origin | None:
        with suppress(OSError, ValueError, TypeError):
            return _Origin(**json.loads(self._origin_file.read_bytes()))
        return None

    def _note(self, origin: _Origin) -> None:
        write_durably(self._origin_file, json.dumps(asdict(origin)).encode())


def remove_working_copy(cache: Path) -> None:
    """Remove the working copy of a shard that is in nobody's cluster any more, if it is idle."""
    with suppress(OSError, HashretError), locked_at_once(cache / _LOCK):
        if (cache / _INDEX).exists():
            with WriterLock(cache / _INDEX, patience=0):
                remove_at_once(cache)
        else:
            remove_at_once(cache)


def _origin_of(version: Version | None, to_be: str | None = None) -> _Origin:
    if version is None:
        return _Origin(None, 0, to_be)
    return _Origin(version.name, version.generation, to_be)
