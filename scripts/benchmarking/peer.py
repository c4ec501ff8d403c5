"""What an exact search has to offer to be measured."""

from __future__ import annotations

import ctypes
import gc
import importlib
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Within = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""``lims, rows, distances``: query i owns ``lims[i]:lims[i + 1]`` of the latter two."""
Nearest = tuple[NDArray[Any], NDArray[Any]]
"""``distances, rows``, a row for each query, nearest first."""

USUAL_RADIUS = 6
"""What tables are laid out for when only the nearest are asked for."""


class Unavailable(Exception):  # noqa: N818 - a reason that is reported, no error
    """A peer is not installed, or cannot do what is asked."""


class Peer:
    """An index of codes; :meth:`build` comes first.

    Attributes:
        name: as tables show it.
        build_bytes: by how much the process grew while building.
        build_seconds: how long that took.
        settings: what was chosen for the codes, in words.
        radius_matters: whether an index is laid out for a radius.
        no_within: why it cannot search within a radius; empty if it can.
        no_nearest: why it cannot find the nearest, exactly; empty if it can.
    """

    name: ClassVar[str]
    settings = ""
    build_bytes = 0
    build_seconds = 0.0
    radius_matters: ClassVar[bool] = False
    no_within: ClassVar[str] = ""
    no_nearest: ClassVar[str] = ""

    @property
    def label(self) -> str:
        """Name and settings."""
        return f"{self.name} ({self.settings})" if self.settings else self.name

    def build(self, codes: Codes, radius: int | None = None) -> None:
        """Index codes, in the best way for a radius where that matters."""
        codes = np.ascontiguousarray(codes)
        before = resident_bytes()
        started = perf_counter()
        self._build(codes, USUAL_RADIUS if radius is None else radius)
        self.build_seconds = perf_counter() - started
        self.build_bytes = max(0, resident_bytes() - before)

    def _build(self, codes: Codes, radius: int) -> None:
        raise NotImplementedError

    def within(self, queries: Codes, radius: int) -> Within:
        """All codes within a radius, inclusive, of each query."""
        raise NotImplementedError

    def nearest(self, queries: Codes, k: int) -> Nearest:
        """The ``k`` nearest codes of each query."""
        raise NotImplementedError


def resident_bytes() -> int:
    """Memory of this process that is in use and belongs to no mapped file."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def module(name: str) -> Any:
    """Import a package, or say that it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(f"{name.split('.')[0]} is not installed") from error


def lims(counts: Iterable[int]) -> NDArray[np.int64]:
    """Where the hits of each query begin and end, from their numbers."""
    return np.concatenate([[0], np.cumsum(np.fromiter(counts, dtype=np.int64))])


def flattened(lists: list[list[int]]) -> NDArray[np.int64]:
    """Lists, one after the other, as an array."""
    return np.fromiter((value for values in lists for value in values), dtype=np.int64)
