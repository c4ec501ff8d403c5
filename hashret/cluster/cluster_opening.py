"""Opening a cluster, or an index, by where it lies."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashret.cluster.connecting import CLIENT, connect, split_address
from hashret.cluster.failures import ray_failures
from hashret.cluster.published import storage_at
from hashret.cluster.storage import ClusterStorage
from hashret.errors import HashretError, error_of
from hashret.files import check_own
from hashret.index.index import Index

if TYPE_CHECKING:
    from hashret.cluster.cluster_index import ClusterIndex


def open_index(path: str | Path) -> Any:
    """Open the index in a folder, or the cluster at ``ray://HOST:PORT/NAME``.

    Raises:
        IndexNotFoundError: there is none.
        DamagedIndexError: its files are damaged or of a newer format.
        HashretError: there is no Ray at the address.
    """
    if isinstance(path, str) and path.startswith(CLIENT):
        return open_cluster(path)
    return Index.open(path)


def open_cluster(
    path: str | Path, *, replicas: int = 1, address: str | None = None
) -> ClusterIndex:
    """Open a cluster: a reader for each shard is found on Ray, or started there.

    Args:
        path: its folder, which all nodes see under this path; a URL, as fsspec understands it; or
            ``ray://HOST:PORT/NAME``, which names Ray too: NAME is a folder under ``./indexes`` (or
            ``HASHRET_INDEXES``) there, or begins with another slash.
        replicas: how many readers each shard has, on different nodes where there are several. One
            that dies is stood in for by another, until Ray has started it again.
        address: of Ray, see :func:`hashret.cluster.connecting.connect`.

    Raises:
        IndexNotFoundError: there is no cluster.
        UsageError: Ray is not installed.
        HashretError: there is no Ray at the address.

    Example:
        >>> with hashret.open_cluster("indexes/big", replicas=2) as cluster:  # doctest: +SKIP
        ...     cluster.query("a program to look at photos", limit=5)
    """
    from hashret.cluster.cluster_index import ClusterIndex

    place = os.fspath(path)
    if not place.startswith(CLIENT):
        return ClusterIndex(storage_at(place), replicas, address)
    address, name = split_address(place)
    return ClusterIndex(_fetched(connect(address), name), replicas, address)


def _fetched(ray: Any, name: str) -> ClusterStorage:
    """The storage of a cluster that this machine may not see, with what it takes to encode."""
    with ray_failures():
        place, found = ray.get(ray.remote(num_cpus=0)(_packed).remote(name))
    if isinstance(found, tuple):
        kind, message = found
        raise error_of(kind, message) or HashretError(message)
    folder = Path(tempfile.mkdtemp(prefix="hashret-cluster-"))
    for relative, content in found.items():
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        (folder / relative).write_bytes(content)
    return _Fetched(place, folder)


def _packed(name: str) -> tuple[str, Any]:
    """Where a cluster lies, seen from a node, and the files that it takes to encode."""
    indexes = Path(os.environ.get("HASHRET_INDEXES") or "indexes")
    # Two slashes in front would be another path to the same place, and so another name of it.
    place = Path(f"/{name.strip('/')}") if name.startswith("/") else indexes / name
    try:
        storage = storage_at(str(place))
        layout, learned = storage.layout(), storage.learned()
        check_own(learned)
    except HashretError as error:
        return str(place), (type(error).__name__, str(error))
    files = {
        str(Path("learned") / path.relative_to(learned)): path.read_bytes()
        for path in learned.rglob("*")
        if path.is_file()
    }
    return storage.root, {"cluster.json": layout.to_json(), **files}


class _Fetched(ClusterStorage):
    """A cluster elsewhere: what it takes to encode lies here, the rest there."""

    def __init__(self, root: str, folder: Path) -> None:
        super().__init__(str(folder))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.root = root

    def reading(self, folder: str, *, fresh: bool = False) -> Path:  # noqa: ARG002, of URLs
        raise HashretError(
            f"This reads the files of {self.root}/{folder}, which this machine does not see: run "
            "it on a node of that Ray."
        )
