"""A cluster of a server: asked as its indexes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hashret.errors import UsageError
from hashret.index.index import Index
from hashret.web.served_index import ServedIndex

if TYPE_CHECKING:
    from hashret.cluster.cluster_index import ClusterIndex

_T = TypeVar("_T")


class ServedCluster(ServedIndex):
    """One cluster by name, for any number of threads.

    Its readers are on Ray; what is opened here, once for each thread that asks, knows where.
    """

    def __init__(
        self, name: str, place: str, query_seconds: float, address: str | None, replicas: int
    ) -> None:
        """Name a cluster; it is opened when first asked.

        Args:
            name: in addresses.
            place: a path, or a URL.
            query_seconds: after which conditions are given up.
            address: of Ray.
            replicas: readers of each shard.
        """
        super().__init__(name, Path(place), query_seconds)
        self._place, self._address, self._replicas = place, address, replicas

    def _opened(self) -> Index:
        from hashret.cluster.cluster_opening import open_cluster

        found: ClusterIndex = open_cluster(
            self._place, replicas=self._replicas, address=self._address
        )
        return cast("Index", found)  # it has the methods of one that are used here

    def _stamps(self) -> object:
        return None

    def ask_at_once(self, question: Callable[[Index], _T]) -> _T | None:  # noqa: ARG002
        """None: an answer comes from other processes, for which the event loop must not wait."""
        return None

    def change(self, change: Callable[[Index], _T]) -> _T:  # noqa: ARG002
        """Refuse.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"{self.name} is a cluster, which is changed by `hashret cluster index` and `hashret "
            "cluster remove`."
        )


def is_cluster(index: Any) -> bool:
    """Whether this is a cluster, and no index."""
    return not isinstance(index, Index)
