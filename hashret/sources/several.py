"""Several sources, one after the other."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import ChainMap
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from hashret.errors import InputError
from hashret.sources.item import Item, Source, counted
from hashret.sources.locations import shown_location
from hashret.sources.metadata import printable
from hashret.sources.skipped import SkippedInputs

REMEDY = "pass --key-prefix '{stem}:' (key_prefix=\"{stem}:\" in Python)"

_ROW = re.compile("0|[1-9][0-9]{0,17}")


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
        self.columns_taken = ChainMap(*(dict(part.columns_taken) for part in self._parts))
        self.empty = sum(part.empty for part in self._parts)
        items = counted(self.length - self.empty, self.kind)
        self.description = f"{items} from {len(parts):,} sources: " + (
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
    def skipped(self) -> SkippedInputs:
        """Inputs left out by the latest iteration, as far as it has come."""
        skipped = SkippedInputs()
        for part in self._parts:
            skipped.extend(part.skipped)
        return skipped

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        streams = []
        first = start = 0
        for part in self._parts:
            # All start at once, so that none still shows what an earlier iteration skipped.
            part._skipped = SkippedInputs()
            end = bisect_left(positions, first + part.length)
            streams.append(part._items(_shifted(positions[start:end], first)))
            first, start = first + part.length, end
        return chain.from_iterable(streams)


def _shifted(positions: Sequence[int], first: int) -> Sequence[int]:
    if isinstance(positions, range):
        return range(positions.start - first, positions.stop - first)
    return [position - first for position in positions]


def _check_keys_apart(parts: tuple[Source, ...]) -> None:
    """Refuse sources of which two would give the same key, without holding all of them."""
    numbered: dict[str, Source] = {}
    for part in parts:
        if (prefix := part.row_prefix) is not None:
            if (other := numbered.get(prefix)) is not None:
                raise InputError(
                    f"{_name(other)} and {_name(part)} would both have the keys "
                    f"{prefix}0, {prefix}1, …; {REMEDY}."
                )
            if prefix[-1:].isdigit():
                raise InputError(
                    f"The keys of {_name(part)} would be {prefix}0, {prefix}1, …, in "
                    "which the row cannot be told from the number before it; "
                    f"{REMEDY}."
                )
            numbered[prefix] = part
    twice = _repeated(parts)
    if not twice and not numbered:
        return
    named: dict[str, Source] = {}
    for part in parts:
        for key in part.named_keys():
            prefix = key.rstrip("0123456789")
            row = key[len(prefix) :]
            other = named.get(key)
            if other is None and _ROW.fullmatch(row):
                rows = numbered.get(prefix)
                other = rows if rows is not None and int(row) < rows.length else None
            if other is not None:
                remedy = REMEDY if part.has_rows else "give each file once"
                raise InputError(
                    f"The key {key!r} comes twice, in {_name(other)} and in {_name(part)}; "
                    f"{remedy}."
                )
            if hash(key) in twice:
                named[key] = part


def _repeated(parts: tuple[Source, ...]) -> frozenset[int]:
    """The hashes of keys that seem to come twice; eight bytes a key tell."""
    hashes = np.sort(
        np.frombuffer(
            array("q", (hash(key) for part in parts for key in part.named_keys())), dtype=np.int64
        )
    )
    return frozenset(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def _name(part: Source) -> str:
    return printable(shown_location(part.location) if part.location else part.description)
