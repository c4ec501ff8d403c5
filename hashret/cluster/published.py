"""A cluster behind a URL: shards are published by version, and each node keeps copies."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hashret.cluster.cache import cache_of, remove_at_once, remove_copies
from hashret.cluster.cached_shard import CachedShard
from hashret.cluster.cluster_layout import GENERATION_NAME, LAYOUT_FILE, LEARNED, SHARD_NAME, Layout
from hashret.cluster.remote_folder import RemoteFolder, UnreachableError
from hashret.cluster.storage import UNFINISHED_FILE, ClusterStorage, no_cluster
from hashret.cluster.versions import CURRENT_FILE
from hashret.cluster.working_copy import WorkingCopy, remove_working_copy
from hashret.files import folders_named, opened_folder, write_durably
from hashret.index.folder import index_folder
from hashret.sources.remote import is_url

_log = logging.getLogger("hashret")


class PublishedStorage(ClusterStorage):
    """A cluster in an object store, or on a mounted file system without locks between machines.

    ::

        <URL>/cluster.json
        <URL>/learned/...                     as a shard
        <URL>/shards-1/00003/current.json     the newest version: its files, sizes and SHA-256
        <URL>/shards-1/00003/<version>/...    what is new in a version, and its version.json

    A version costs its new files: ``items.db`` and ``seal.json`` whole, and the segments that were
    made since; the encoder and the other segments stay where they are. The newest version and the
    one before it are kept. Copies lie below ``HASHRET_CACHE``, else in the user's cache folder.

    Attributes:
        root: the URL.
    """

    def __init__(self, root: str) -> None:
        """Name the URL, below which nothing may be yet.

        Raises:
            UsageError: fsspec is missing, or what it needs for this kind of URL.
            InputError: no file system of fsspec takes the URL.
        """
        self.root = root.rstrip("/")
        self._remote = RemoteFolder(self.root)
        self._cache = cache_of(self.root)
        self._shards: dict[str, CachedShard] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process or on another machine, it has that one's copies."""
        return type(self), (self.root,)

    def layout(self, *, certain: bool = False) -> Layout:
        """What ``cluster.json`` tells; where it cannot be reached, what it told before.

        Args:
            certain: where it cannot be reached, fail.

        Raises:
            IndexNotFoundError: there is none.
            DamagedIndexError: it is damaged.
            HashretError: nobody can tell.
        """
        kept = self._cache / LAYOUT_FILE
        try:
            content = self._remote.read(LAYOUT_FILE)
        except UnreachableError as error:
            if certain:
                raise
            with suppress(OSError):
                layout = Layout.from_json(kept.read_bytes(), str(kept))
                _log.warning("%s It is taken to be as it was.", error)
                return layout
            raise
        if content is None:
            raise no_cluster(self.root)
        layout = Layout.from_json(content, self._remote.place(LAYOUT_FILE))
        with suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True)
            write_durably(kept, content)
            self._sweep(layout)
        return layout

    def write_layout(self, layout: Layout) -> None:
        """Replace ``cluster.json``; the last step of making or resharding a cluster."""
        self._remote.write(LAYOUT_FILE, layout.to_json())

    def entries(self) -> list[str]:
        """The names of what lies directly at the URL.

        Raises:
            UnreachableError: nobody can tell.
        """
        return self._remote.entries()

    def is_unfinished(self) -> bool:
        """Whether a run began to make a cluster here, and did not end."""
        return self._remote.read(UNFINISHED_FILE) is not None

    def note_unfinished(self) -> None:
        """Note that a run makes a cluster here."""
        self._remote.write(UNFINISHED_FILE, b"\n")  # some stores have no empty objects

    def note_whole(self) -> None:
        """Note that the run has ended."""
        with suppress(UnreachableError):
            self._remote.remove([UNFINISHED_FILE])

    def learned(self) -> Path:
        """A folder on this machine with the index without items; see :meth:`reading`."""
        return self.reading(LEARNED)

    def reading(self, folder: str, *, fresh: bool = False) -> Path:
        """A folder on this machine with the newest published version of a shard, to be read.

        The first time, this waits until it is there, whole. Later, a thread looks for a newer one
        every ``REFRESH_SECONDS`` while this is called, and fetches it; then another folder is
        returned, and an index in the one before can be read for ``KEPT_SECONDS`` more, unless this
        object is gone. Where the store cannot be reached, or what it has is damaged, the version
        that is here stays, and the logger ``hashret`` is told once.

        Args:
            folder: that of the shard, as the layout names it.
            fresh: look for a newer version now, and wait for it.

        Raises:
            HashretError: there is no version here, and none can be had.
        """
        return self._shard(folder).newest(fresh=fresh)

    def discard(self, folder: str) -> None:
        """The copy that ``reading`` gave is damaged: :meth:`reading` is to fetch another one."""
        self._shard(folder).discard()

    def writing(self, folder: str) -> Path:
        """A folder on this machine in which a shard is changed; nobody else may change it.

        It holds the newest published version, or is absent where there is none yet. It is kept
        between runs, and goes on from what was changed in it, published or not, until another node
        has published the shard; then it is replaced, and the logger ``hashret`` is told.

        A node that dies before :meth:`publish` takes what it changed since the last time with it,
        unless it comes back, with its disk, before another node has published the shard. The same
        source, given again, brings that back: items are known by key and content.

        Raises:
            HashretError: the newest version cannot be had, or the folder cannot be written.
        """
        return self._working(folder).up_to_date()

    def publish(self, folder: str, *, whole: bool = False) -> None:
        """Make what was changed in a shard, which is closed meanwhile, its newest version.

        Interrupted at any moment, the version before stays the newest, and this may be called
        again. Where nothing was changed, nothing is sent.

        One node at a time may write to a shard. If another one published it since
        :meth:`writing`, this is refused; two that publish it within the same moment are not told
        from each other, and the later one stays.

        Args:
            folder: that of the shard, as the layout names it.
            whole: send all its files, though older versions have some of them: those may be
                damaged.

        Raises:
            IndexChangedError: another node has published the shard meanwhile.
            DamagedIndexError: the index is damaged.
            HashretError: it cannot be sent, or someone reads from it.
        """
        self._working(folder).publish(whole=whole)
        self._shard(folder).look_again()

    def is_newest(self, folder: str) -> bool:
        """Whether nobody else published a shard since :meth:`writing` or :meth:`publish` had it.

        Raises:
            HashretError: nobody can tell.
        """
        return self._working(folder).is_newest()

    def remove(self, folder: str) -> None:
        """Remove a shard, or a whole generation of them; those who read them have copies.

        What was changed on this machine and not published is removed with them.

        Raises:
            HashretError: it cannot be removed.
        """
        remove_at_once(self._cache / "writing" / folder)
        names = [f"{folder}/{name}" for name in self._remote.names(folder)]
        named = [name for name in names if name.endswith(f"/{CURRENT_FILE}")]
        self._remote.remove(named)
        self._remote.remove([name for name in names if name not in named])

    def _sweep(self, layout: Layout) -> None:
        """Remove the copies of shards that were replaced, which nobody reads or writes."""
        for use, remove in (("reading", remove_copies), ("writing", remove_working_copy)):
            with suppress(OSError), opened_folder(self._cache / use) as copies:
                for name in folders_named(GENERATION_NAME, copies):
                    # Those of the next generation may be in the making.
                    if int(name.removeprefix("shards-")) < layout.generation:
                        self._sweep_generation(self._cache / use / name, remove)

    @staticmethod
    def _sweep_generation(place: Path, remove: Callable[[Path], None]) -> None:
        with opened_folder(place) as generation:
            for shard in folders_named(SHARD_NAME, generation):
                remove(place / shard)
        with suppress(OSError):
            place.rmdir()

    def _shard(self, folder: str) -> CachedShard:
        with self._lock:
            if folder not in self._shards:
                self._shards[folder] = CachedShard(
                    self._remote,
                    folder,
                    self._cache / "reading" / folder,
                    self._cache / "writing" / folder / "index",
                )
            return self._shards[folder]

    def _working(self, folder: str) -> WorkingCopy:
        reading, writing = self._cache / "reading" / folder, self._cache / "writing" / folder
        return WorkingCopy(self._remote, folder, writing, reading)


def storage_at(place: str | Path) -> ClusterStorage:
    """The storage of a cluster at a path, or behind a URL that fsspec understands.

    Args:
        place: the path of a folder that all nodes share, used in place; or a URL such as
            ``s3://bucket/name``, ``file:///mnt/shared/name`` for a mounted file system whose
            locks and shared memory do not reach from one machine to the other: then nodes
            keep copies, see :class:`PublishedStorage`.

    Raises:
        UsageError: fsspec is missing, or what it needs for this kind of URL.
        InputError: no file system of fsspec takes the URL.
    """
    if isinstance(place, str) and is_url(place):
        return PublishedStorage(place)
    return ClusterStorage(str(index_folder(place)))
