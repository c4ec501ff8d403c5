"""The indexes and clusters of a server, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hashret.errors import (
    HashretError,
)
from hashret.index.index import Index
from hashret.web.problems import Problem, problem_of
from hashret.web.served_cluster import ServedCluster
from hashret.web.served_index import ServedIndex
from hashret.web.settings import Settings


class Served:
    """The indexes of a server by name.

    Attributes:
        settings: how they are served.
    """

    def __init__(self, settings: Settings) -> None:
        """Take the indexes of ``settings``, unopened."""
        self.settings = settings
        self._indexes = {
            name: ServedIndex(name, path, settings.limits.query_seconds)
            for name, path in settings.indexes.items()
        }
        if settings.clusters:
            self._indexes |= {
                name: ServedCluster(
                    name,
                    place,
                    settings.limits.query_seconds,
                    settings.ray_address,
                    settings.replicas,
                )
                for name, place in settings.clusters.items()
            }

    def __iter__(self) -> Iterator[ServedIndex]:
        """The indexes in the order they were named."""
        return iter(self._indexes.values())

    def __len__(self) -> int:
        """How many indexes there are."""
        return len(self._indexes)

    def __getitem__(self, name: str) -> ServedIndex:
        """The index of this name.

        Raises:
            Problem: there is none (404).
        """
        try:
            return self._indexes[name]
        except KeyError:
            raise Problem(
                404,
                f"There is no index {name!r} here.",
                f"There are: {', '.join(self._indexes)}.",
                kind="IndexNotFoundError",
            ) from None

    def overview(self) -> list[dict[str, Any]]:
        """Name, size and kind of each; of one that cannot be read, why."""
        return [_line(index) for index in self]

    def close(self) -> None:
        """Close all of them."""
        for index in self:
            index.close()


def _line(served: ServedIndex) -> dict[str, Any]:
    def told(index: Index) -> dict[str, Any]:
        return {"items": len(index), "n_bits": index.n_bits, "kind": index.kind}

    try:
        return {"name": served.name, **served.ask(told)}
    except HashretError as error:
        return {"name": served.name, "error": problem_of(error).message}
