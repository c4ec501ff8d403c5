"""Where the files of a cluster are read and written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from hashret.cluster.cluster_layout import LAYOUT_FILE, LEARNED, MOST_LAYOUT_BYTES, Layout
from hashret.errors import HashretError, IndexNotFoundError
from hashret.files import check_own_entry, read_regular, write_durably
from hashret.index.folder import has_items

UNFINISHED_FILE = ".unfinished"
"""In the folder of a cluster that is being made: what else is there is no work of others."""


class ClusterStorage:
    """The folder of a cluster, on a file system that all nodes share.

    Attributes:
        root: the absolute path.
    """

    def __init__(self, root: str) -> None:
        """Name the folder, which may not be there yet."""
        self.root = root
        self._folder = Path(root)

    def layout(self, *, certain: bool = False) -> Layout:  # noqa: ARG002, of URLs
        """What ``cluster.json`` tells.

        Args:
            certain: behind a URL that cannot be reached, fail rather than tell what it told before.

        Raises:
            IndexNotFoundError: there is none.
            DamagedIndexError: it is damaged.
        """
        path = self._folder / LAYOUT_FILE
        try:
            check_own_entry(path)
            content = read_regular(path, MOST_LAYOUT_BYTES)
        except FileNotFoundError:
            raise no_cluster(self.root) from None
        except OSError as error:
            raise HashretError(f"{path} cannot be read ({error.strerror or error}).") from error
        return Layout.from_json(content, str(path))

    def write_layout(self, layout: Layout) -> None:
        """Replace ``cluster.json``; the last step of making or resharding a cluster."""
        write_durably(self._folder / LAYOUT_FILE, layout.to_json())

    def entries(self) -> list[str]:
        """The names of what lies in the folder of the cluster, which may be absent.

        Raises:
            HashretError: nobody can tell.
        """
        with self._used("read"):
            return [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []

    def is_unfinished(self) -> bool:
        """Whether a run began to make a cluster here, and did not end."""
        return (self._folder / UNFINISHED_FILE).exists()

    def note_unfinished(self) -> None:
        """Note that a run makes a cluster here.

        Raises:
            HashretError: nothing can be written here.
        """
        with self._used("written"):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_durably(self._folder / UNFINISHED_FILE, b"")

    def note_whole(self) -> None:
        """Note that the run has ended."""
        with suppress(OSError):
            (self._folder / UNFINISHED_FILE).unlink()

    @contextmanager
    def _used(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HashretError(
                f"{self._folder} cannot be {done} ({error.strerror or error}); choose another "
                "place, or one that you may write to."
            ) from error

    def learned(self) -> Path:
        """A folder on this machine with the index without items."""
        return self._own(LEARNED)

    def reading(self, folder: str, *, fresh: bool = False) -> Path:  # noqa: ARG002, of URLs
        """A folder on this machine with the newest state of a shard, to be read.

        Args:
            folder: that of the shard, as the layout names it.
            fresh: behind a URL, look for a newer state now rather than every few seconds.

        Raises:
            UnsafeIndexError: it could lead outside of the cluster.
        """
        return self._own(folder)

    def discard(self, folder: str) -> None:
        """What :meth:`reading` gave is damaged: where it is a copy, fetch another one next time."""

    def writing(self, folder: str) -> Path:
        """A folder on this machine in which a shard is changed; nobody else may change it.

        It is absent where there is no such shard yet.

        Raises:
            UnsafeIndexError: it could lead outside of the cluster.
        """
        return self._own(folder)

    def _own(self, folder: str) -> Path:
        """The path of a folder of the cluster, of which no part is a link."""
        path = self._folder
        for part in PurePosixPath(folder).parts:
            path /= part
            check_own_entry(path)
        return path

    def publish(self, folder: str, *, whole: bool = False) -> None:
        """Let others see what was changed in a shard, which is closed meanwhile.

        Args:
            folder: that of the shard, as the layout names it.
            whole: behind a URL, send also what is there already, which may be damaged.
        """

    def is_newest(self, folder: str) -> bool:  # noqa: ARG002, of URLs
        """Whether nobody else published a shard since :meth:`writing` or :meth:`publish` had it.

        Raises:
            HashretError: nobody can tell.
        """
        return True

    def remove(self, folder: str) -> None:
        """Remove a shard, or a whole generation of them, that the layout does not name any more.

        Raises:
            HashretError: it cannot be removed.
        """
        try:
            shutil.rmtree(self._own(folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise HashretError(
                f"{self._folder / folder} cannot be removed ({error.strerror or error})."
            ) from error


def no_cluster(root: str) -> IndexNotFoundError:
    """Say that there is no cluster."""
    if "://" not in root and has_items(Path(root)):
        return IndexNotFoundError(
            f"{root} is an index, not a cluster: `hashret query` and hashret.open(path) ask it."
        )
    return IndexNotFoundError(
        f"There is no cluster at {root}. Make one with `hashret cluster index SOURCE -i NAME "
        "--shards N`."
    )
