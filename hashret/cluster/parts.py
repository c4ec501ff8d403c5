"""A source as nodes read it: its parts, each opened again by whoever reads it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from os import PathLike
from typing import Any

from hashret.errors import InputError
from hashret.index.changeable import opened_source
from hashret.index.differences import Origin
from hashret.sources import Item, SkippedInputs, Source, open_paths
from hashret.sources.remote import is_url

RANGE_ITEMS = 1 << 16
"""So many items of a source that can be divided are read by one task."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the sources that a source consists of, or a range of it.

    Attributes:
        number: which one it is.
        origin: what decides about items that come from it.
        root: its path, for messages; None where it has none.
        path: what to open on any node; None for what the driver alone can read.
        opening: how to open it.
        first: the position where it begins.
        end: the position where it ends; None for all of it.
        listed: a digest of what is listed between, where it is a range of a listing.
    """

    number: int
    origin: Origin
    root: str | None
    path: str | None = None
    opening: tuple[tuple[str, Any], ...] = ()
    first: int = 0
    end: int | None = None
    listed: bytes | None = None

    def name_of(self, key: str, position: int | None) -> str:
        """The name under which an item is found in it."""
        in_file = position is not None and self.origin.location is not None
        return f"{self.root or self.origin.location}#{position}" if in_file else key

    def ranges(self, source: Source) -> list[Part]:
        """Itself, or ranges of it that are read by themselves."""
        pieces = math.ceil(source.length / RANGE_ITEMS) if source.divisible else 1
        if pieces < 2:
            return [self]
        bounds = [source.length * piece // pieces for piece in range(pieces + 1)]
        keys = _keys_of(source)
        return [
            replace(self, first=first, end=end, listed=_listed(keys, first, end))
            for first, end in pairwise(bounds)
        ]


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source on the driver, and how nodes open its parts.

    Attributes:
        source: the source.
        parts: its parts, in order.
    """

    source: Source
    parts: tuple[Part, ...]

    @property
    def travels(self) -> bool:
        """Whether nodes can open it by themselves."""
        return all(part.path is not None for part in self.parts)


def open_parts(
    source: Any,
    kind: str = "auto",
    key_prefix: str = "",
    *,
    earlier: Mapping[str, Mapping[str, str]],
    replace: bool = False,
    only_paths: bool = False,
    **reading: str | None,
) -> OpenedSource:
    """Open a source so that nodes can read it: see :func:`hashret.sources.open_source`.

    Args:
        source: as for :func:`hashret.create`.
        kind: likewise.
        key_prefix: likewise.
        earlier: which columns were taken of which tables before.
        replace: whether its items may take keys of other sources' different items.
        only_paths: strings are paths, always.
        reading: how tables are read.

    Raises:
        InputError: it cannot be used.
        UsageError: an option does not go with it.
    """
    if isinstance(source, Iterator):  # is looked at twice
        source = list(source)
    if only_paths:
        opened = open_paths(source, kind, key_prefix, earlier=earlier, **reading)
    else:
        opened = opened_source(source, kind, key_prefix, earlier, **reading)
    paths = _paths_of(source, opened)
    parts = []
    for number, part in enumerate(opened.parts):
        origin = Origin(part.location, part.passes and part.row_prefix is not None, replace)
        opening = {
            "kind": part.kind,
            "key_prefix": key_prefix,
            "earlier": {place: dict(taken) for place, taken in part.columns_taken.items()},
            **reading,
        }
        parts.append(
            Part(number, origin, part.root, paths[number], tuple(opening.items()))
            if paths is not None
            else Part(number, origin, part.root)
        )
    return OpenedSource(opened, tuple(parts))


def _paths_of(given: Any, opened: Source) -> list[str] | None:
    """The paths that were given, one for each part; None for what lies in no files."""
    paths: Sequence[Any] = [given] if isinstance(given, str | PathLike) else given
    if isinstance(given, Source) or any(part.location is None for part in opened.parts):
        return None
    texts = [os.fspath(path) for path in paths]
    # As a text, for it may end in what is no path: a table inside a file.
    return [text if is_url(text) else os.path.abspath(text) for text in texts]  # noqa: PTH100


def _listed(keys: Sequence[str], first: int, end: int) -> bytes | None:
    """A digest of the keys of a range; None where keys are but the numbers of rows."""
    own = keys[first:end]
    if len(own) < end - first:
        return None
    return blake2b("\0".join(own).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def read_part(part: Part, run: str) -> Iterator[Item]:
    """The items of a part, read on this node.

    Raises:
        InputError: this node cannot read it.
    """
    source = source_of(replace(part, first=0, end=None), run)
    if part.end is None:
        return iter(source)
    if source.length < part.end:
        raise InputError(
            f"{part.root or part.path} has changed while it was read: it has {source.length:,} "
            f"items now, fewer than before. Give it again."
        )
    if part.listed is not None and part.listed != _listed(
        _keys_read_again(source), part.first, part.end
    ):
        raise InputError(
            f"{part.root or part.path} has changed while it was read: other items have taken the "
            f"places of those that it had. Give it again."
        )
    return source.between(part.first, part.end)


def skipped_in(part: Part, run: str) -> SkippedInputs:
    """What was left out of a part that was read to its end just now."""
    return source_of(replace(part, first=0, end=None), run).skipped


def source_of(part: Part, run: str) -> Source:
    """The whole source of a part, opened once by each process in a ``run``."""
    return _opened(part.path or "", part.number, run, _Opening(part.opening))


def _keys_of(source: Source) -> Sequence[str]:
    keys = source.named_keys()
    return keys if isinstance(keys, Sequence) else list(keys)


_keys_read_again = lru_cache(maxsize=1)(_keys_of)
"""For each range of a source that this process reads."""


class _Opening(dict[str, Any]):
    """Keyword arguments that can be part of what a cache is asked for; equal ones are the same."""

    def __hash__(self) -> int:  # type: ignore[override]
        return 0  # a dict has none of its own


@lru_cache(maxsize=1)
def _opened(path: str, _number: int, _run: str, opening: _Opening) -> Source:
    return open_paths([path], **opening)
