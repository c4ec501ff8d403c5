"""The newest version of a shard on this machine, to be read."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path

from hashret.cluster.cache import (
    FETCH_LOCK,
    Held,
    locked,
    remove_at_once,
    remove_unless_held,
    unfinished_beside,
    versions_in,
    writing_cache,
)
from hashret.cluster.cluster_layout import LAYOUT_FILE, LEARNED, Layout
from hashret.cluster.fetching import fetch
from hashret.cluster.remote_folder import GoneError, RemoteFolder
from hashret.cluster.versions import CURRENT_FILE, Version
from hashret.errors import DamagedIndexError, HashretError, IndexNotFoundError
from hashret.files import write_durably

REFRESH_SECONDS = 10.0
"""A new version is looked for no more often, with one small request for each shard and process."""

KEPT_SECONDS = 600.0
"""A version stays at least so long after :meth:`CachedShard.newest` has given a newer one."""

PATIENCE_SECONDS = 5.0
"""So long a query waits for the store, after nobody has asked for some time."""

_ATTEMPTS = 3
_AT_ONCE = float("-inf")

_log = logging.getLogger("hashret")


class CachedShard:
    """Copies of published versions, for all processes of this machine.

    ``<cache>/<version>/`` is a whole index; ``current.json`` names the one that is newest as far as
    is known here. Threads may share this.
    """

    def __init__(self, remote: RemoteFolder, shard: str, cache: Path, near: Path) -> None:
        """Keep copies of a ``shard`` in ``cache``; ``near`` may have the same files already."""
        self._remote = remote
        self._shard = shard
        self._cache = cache
        self._near = near
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._replaced: list[tuple[float, Held]] = []
        self._gone = ""
        self._look_again = _AT_ONCE
        self._looked = self._wait_again = 0.0
        self._said = ""

    def newest(self, *, fresh: bool = False) -> Path:
        """The folder of the newest version that is here, mostly without waiting where there is one.

        Where the last look at the store is too old, a thread has another one, and fetches what is
        new. That one is waited for, but not long, where the last one ended so long ago that what is
        here may be old: a store that does not answer holds up one query in a while.

        Args:
            fresh: look now, and wait for what is new.

        Raises:
            IndexNotFoundError: the cluster does not have the shard, or not any more.
            HashretError: there is none here, and none can be had.
        """
        if not fresh and self._held is not None and self._look_again != _AT_ONCE:
            now = time.monotonic()
            if now >= self._look_again and self._lock.acquire(blocking=False):
                threading.Thread(target=self._look, name="hashret-refresh", daemon=True).start()
            if now >= max(self._looked + 2 * REFRESH_SECONDS, self._wait_again):
                self._wait()
            held = self._held
            if held is not None:
                return held.folder
        with self._lock:
            if self._gone and not fresh and time.monotonic() < self._look_again:
                raise IndexNotFoundError(self._gone)
            if self._held is None or fresh or self._look_again == _AT_ONCE:
                self._held = self._looked_for()
            return self._held.folder

    def look_again(self) -> None:
        """Look for a newer version the next time, and wait for it."""
        self._look_again = _AT_ONCE

    def discard(self) -> None:
        """Forget the copy of the newest version, which is damaged; the next one is fetched."""
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                with suppress(OSError), locked(self._cache / FETCH_LOCK):
                    if held.is_there():
                        remove_at_once(held.folder)
                held.release()

    def _wait(self) -> None:
        """Wait for the look that is going on; where it takes long, not again for a while."""
        if self._lock.acquire(timeout=PATIENCE_SECONDS):
            self._lock.release()
        else:
            self._wait_again = time.monotonic() + REFRESH_SECONDS

    def _look(self) -> None:
        """What the thread does, which has the lock."""
        try:
            with suppress(HashretError):  # a folder that others removed is missed where it is read
                self._held = self._looked_for()
        finally:
            self._lock.release()

    def _looked_for(self) -> Held:
        try:
            return self._newest()
        finally:
            self._looked = time.monotonic()

    def _newest(self) -> Held:
        self._look_again = time.monotonic() + REFRESH_SECONDS
        self._let_go()
        try:
            version, held = self._brought()
        except HashretError as error:
            if isinstance(error, IndexNotFoundError) and self._is_gone():
                self._forget(str(error))
                raise
            known = None if self._gone else self._known()
            if known is None:
                raise
            if str(error) != self._said:
                self._said = str(error)
                _log.warning(
                    "%s Queries of %s go on with version %s, which is here already.",
                    error,
                    self._remote.place(self._shard),
                    known.folder.name,
                )
            return known
        self._said = self._gone = ""
        if self._held is not None and self._held is not held:
            self._replaced.append((time.monotonic(), self._held))
        self._sweep(version)
        return held

    def _brought(self) -> tuple[Version, Held]:
        for _ in range(_ATTEMPTS):
            version = self._published()
            folder = self._cache / version.name
            held = self._held
            if held is None or held.folder != folder or not held.is_there():
                try:
                    self._fetch(version, folder)
                except GoneError:
                    continue  # newer versions were published meanwhile, and this one was removed
                held = Held.take(folder)
            if held is not None:
                return version, held
        raise DamagedIndexError(
            f"{self._remote.place(self._shard)} names files that are not there. Restore them "
            "from a copy, or publish the shard from the node that wrote it, whole (whole=True)."
        )

    def _published(self) -> Version:
        name = f"{self._shard}/{CURRENT_FILE}"
        content = self._remote.read(name)
        if content is None:
            raise IndexNotFoundError(
                f"There is no {self._remote.place(name)}: the shard was never published, the "
                "cluster was removed or has other shards by now, or the file system is not mounted "
                "here. Open the cluster again; `hashret cluster index SOURCE -i NAME` makes one, "
                "and goes on where it was interrupted."
            )
        return Version.from_json(content, self._remote.place(name))

    def _is_gone(self) -> bool:
        """Whether the store tells, for sure, that the cluster does not have this shard any more."""
        try:
            content = self._remote.read(LAYOUT_FILE)
            if content is None:
                return self._remote.is_mounted()
            layout = Layout.from_json(content, self._remote.place(LAYOUT_FILE))
        except HashretError:
            return False
        return self._shard not in (LEARNED, *layout.folders())

    def _forget(self, reason: str) -> None:
        """Tell from now on that there is no such shard; who reads a copy may finish."""
        self._gone = reason
        if self._held is not None:
            self._replaced.append((time.monotonic(), self._held))
            self._held = None

    def _fetch(self, version: Version, folder: Path) -> None:
        if not folder.is_dir():
            with writing_cache(self._cache), locked(self._cache / FETCH_LOCK):
                if not folder.is_dir():
                    near = [self._near, *versions_in(self._cache)]
                    with unfinished_beside(folder) as unfinished:
                        fetch(self._remote, self._shard, version, unfinished, near)
        noted = self._noted()
        if noted is None or noted.name != version.name:
            with suppress(OSError):
                write_durably(self._cache / CURRENT_FILE, version.to_json())

    def _noted(self) -> Version | None:
        path = self._cache / CURRENT_FILE
        with suppress(OSError, DamagedIndexError):
            return Version.from_json(path.read_bytes(), str(path))
        return None

    def _known(self) -> Held | None:
        """The newest version that is here."""
        if self._held is not None and self._held.is_there():
            return self._held
        noted = self._noted()
        return None if noted is None else Held.take(self._cache / noted.name)

    def _let_go(self) -> None:
        """Let what was replaced long ago be removed."""
        now = time.monotonic()
        for since, held in self._replaced:
            if now - since >= KEPT_SECONDS:
                held.release()
        self._replaced = [(at, held) for at, held in self._replaced if now - at < KEPT_SECONDS]

    def _sweep(self, newest: Version) -> None:
        """Remove what nobody holds."""
        with suppress(OSError):
            for path in versions_in(self._cache):
                if path.name != newest.name:
                    remove_unless_held(path)
