"""Where the files of a cluster are read and written."""

from __future__ import annotations

from pathlib import Path

from hashret.cluster.layout import LAYOUT_FILE, LEARNED, Layout
from hashret.errors import HashretError, IndexNotFoundError
from hashret.files import write_durably


class ClusterStorage:
    """The folder of a cluster, on a file system that all nodes share.

    Attributes:
        root: the absolute path.
    """

    def __init__(self, root: str) -> None:
        """Name the folder, which may not be there yet."""
        self.root = root
        self._folder = Path(root)

    @classmethod
    def at(cls, place: str) -> ClusterStorage:
        """The storage of the cluster at a path."""
        return cls(str(Path(place).expanduser().absolute()))

    def layout(self) -> Layout:
        """What ``cluster.json`` tells.

        Raises:
            IndexNotFoundError: there is none.
            DamagedIndexError: it is damaged.
        """
        path = self._folder / LAYOUT_FILE
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise IndexNotFoundError(
                f"There is no cluster at {self.root}. Make one with `hashret cluster index SOURCE "
                "-i NAME --shards N`."
            ) from None
        except OSError as error:
            raise HashretError(f"{path} cannot be read ({error.strerror or error}).") from error
        return Layout.from_json(content, str(path))

    def write_layout(self, layout: Layout) -> None:
        """Replace ``cluster.json``; the last step of making or resharding a cluster."""
        write_durably(self._folder / LAYOUT_FILE, layout.to_json())

    def learned(self) -> Path:
        """A folder on this machine with the index without items."""
        return self._folder / LEARNED

    def reading(self, folder: str) -> Path:
        """A folder on this machine with the newest state of a shard, to be read."""
        return self._folder / folder

    def writing(self, folder: str) -> Path:
        """A folder on this machine in which a shard is changed; nobody else may change it."""
        return self._folder / folder

    def publish(self, folder: str) -> None:
        """Let others see what was changed in a shard, which is closed meanwhile."""
