"""Several sources, one after the other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain

from hashret.errors import InputError
from hashret.sources.arrays import ArraySource
from hashret.sources.images import ImageFolder
from hashret.sources.item import Item, Skipped, Source
from hashret.sources.metadata import printable

REMEDY = "pass --key-prefix '{stem}:' (key_prefix=\"{stem}:\" in Python)"


class Several(Source):
    """The items of several paths, in the order in which they are given.

    Raises:
        InputError: they are not of one kind, or two of them would give the same key.
    """

    def __init__(self, parts: Sequence[Source]) -> None:
        """Check that the sources go together."""
        super().__init__()
        self._parts = tuple(parts)
        first = self._parts[0]
        for part in self._parts:
            if part.kind != first.kind:
                raise InputError(
                    f"Expected sources of one kind, got {first.kind} in {_name(first)} and "
                    f"{part.kind} in {_name(part)}; index them apart, or give the kind."
                )
        _check_keys_apart(self._parts)
        self.kind = first.kind
        self.length = sum(part.length for part in self._parts)
        self.ignored = sum(part.ignored for part in self._parts)
        self.description = f"{self.length:,} {self.kind} from {len(parts):,} sources: " + (
            "; ".join(part.description for part in self._parts)
            if len(parts) <= 3
            else f"{first.description}; and {len(parts) - 1:,} more; {self.ignored:,} other files "
            "ignored in all"
        )

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sources, in order."""
        return self._parts

    @property
    def skipped(self) -> list[Skipped]:
        """Inputs left out by the latest iteration, as far as it has come."""
        return [skipped for part in self._parts for skipped in part.skipped]

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        streams = []
        first = start = 0
        for part in self._parts:
            # All start at once, so that none still shows what an earlier iteration skipped.
            part._skipped = []
            end = bisect_left(positions, first + part.length)
            streams.append(part._items([p - first for p in positions[start:end]]))
            first, start = first + part.length, end
        return chain.from_iterable(streams)


def _check_keys_apart(parts: tuple[Source, ...]) -> None:
    """Refuse sources of which two would give the same key, without listing row numbers."""
    numbered: dict[str, Source] = {}
    for part in parts:
        if isinstance(part, ArraySource) and part.explicit_keys() is None:
            if (other := numbered.get(part.prefix)) is not None:
                raise InputError(
                    f"{_name(other)} and {_name(part)} would both have the keys "
                    f"{part.prefix}0, {part.prefix}1, …; {REMEDY}."
                )
            if part.prefix[-1:].isdigit():
                raise InputError(
                    f"The keys of {_name(part)} would be {part.prefix}0, {part.prefix}1, …, in "
                    "which the row cannot be told from the number before it; "
                    f"{REMEDY}."
                )
            numbered[part.prefix] = part
    named: dict[str, Source] = {}
    for part in parts:
        for key in _listed_keys(part):
            prefix = key.rstrip("0123456789")
            row = key[len(prefix) :]
            other = named.get(key)
            if other is None and (row == "0" or row[:1] not in ("", "0")):
                rows = numbered.get(prefix)
                other = rows if rows is not None and int(row) < rows.length else None
            if other is not None:
                remedy = REMEDY if isinstance(part, ArraySource) else "give each file once"
                raise InputError(
                    f"The key {key!r} comes twice, in {_name(other)} and in {_name(part)}; "
                    f"{remedy}."
                )
            named[key] = part


def _listed_keys(part: Source) -> list[str]:
    if isinstance(part, ArraySource):
        return part.explicit_keys() or []
    if isinstance(part, ImageFolder):
        return part.paths()
    return [] if part.location is None else [part.location]


def _name(part: Source) -> str:
    return printable(part.location or part.description)
