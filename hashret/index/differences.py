"""What given items change of what is stored, found by key and content, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.sources import is_gone
from hashret.sources.locations import shown_location
from hashret.store import ItemReader, ItemWriter, NewItem
from hashret.store.items import KnownItem


class Given(NamedTuple):
    """An item as it is compared: all but its value, of which the hash tells enough."""

    key: str
    fields: str
    digest: bytes
    position: int | None


@dataclass(slots=True)
class Changes:
    """What given items change.

    Attributes:
        new: those whose values are not stored under their keys, with the fields they get.
        places: where these stand among the given.
        replaced: the rows of items whose keys get other values, by key.
        refield: rows and the fields that they get.
        moved: rows and positions of what now lies in this source.
        beside: where those of the last two stand among the given.
        unchanged: how many are there already, with the same fields.
        refused: an item whose key belongs to another source's, by place, and what has the key.
    """

    new: list[Given] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    replaced: dict[str, int] = field(default_factory=dict)
    refield: list[tuple[int, str]] = field(default_factory=list)
    moved: list[tuple[int, int | None]] = field(default_factory=list)
    beside: list[int] = field(default_factory=list)
    unchanged: int = 0
    refused: tuple[int, KnownItem] | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """What of a source decides about items that come from it.

    Attributes:
        location: where it lies; None for Python data.
        numbered: whether its keys are row numbers that mean other items the next time.
        replace: whether its items may take keys of other sources' different items.
    """

    location: str | None
    numbered: bool = False
    replace: bool = False


class Comparer:
    """Compares items of one source with what is stored.

    Args:
        origin: the source.
        source: its number in the store; None for Python data, -1 where it is not noted yet.
        places: the locations of all sources that the store knows, by number.
    """

    def __init__(self, origin: Origin, source: int | None, places: Mapping[int, str]) -> None:
        """Nothing is compared yet."""
        self.places = places
        self._origin, self._source = origin, source
        self._gone: dict[int, bool] = {}

    def changes(self, given: Sequence[Given], known: Mapping[str, KnownItem]) -> Changes:
        """What items change, as far as the first that is refused.

        Args:
            given: the items.
            known: what is stored under their keys.
        """
        changes = Changes()
        for place, item in enumerate(given):
            old = known.get(item.key)
            if old is not None:
                is_same = item.position is None or old.content_hash == item.digest
                if item.fields == "{}" and is_same and self._is_elsewhere(old):
                    # Part of a folder, given alone, does not show the labels of the whole.
                    item = item._replace(fields=old.fields)
                if old.content_hash == item.digest:
                    if self._note_beside(item, old, changes):
                        changes.beside.append(place)
                    continue
                if self._belongs_elsewhere(item, old):
                    changes.refused = (place, old)
                    break
                changes.replaced[item.key] = old.row
            changes.new.append(item)
            changes.places.append(place)
        return changes

    def _is_elsewhere(self, old: KnownItem) -> bool:
        return self._origin.location is not None and self._source != old.source

    def _note_beside(self, item: Given, old: KnownItem, changes: Changes) -> bool:
        """Note what has changed beside a value that is stored under its key; whether anything."""
        elsewhere = self._is_elsewhere(old)
        changed = old.fields != item.fields
        moved = (
            changed or self._is_gone(old.source)
            if elsewhere
            else old.position != item.position and self._origin.location is not None
        )
        if moved:
            changes.moved.append((old.row, item.position))
        if changed:
            changes.refield.append((old.row, item.fields))
        else:
            changes.unchanged += 1
        return changed or moved

    def _is_gone(self, source: int | None) -> bool:
        """Whether what an item came from is no longer there; Python data never stays."""
        if source is None:
            return True
        if source not in self._gone:
            self._gone[source] = is_gone(self.places[source])
        return self._gone[source]

    def _belongs_elsewhere(self, item: Given, old: KnownItem) -> bool:
        # Row numbers mean something within their file only. Paths, and keys that come from Python,
        # mean the same item wherever they are met, so there another value is an update.
        return not self._origin.replace and (
            self._origin.numbered
            or (item.position is not None and old.source not in (None, self._source))
        )


def refusal(key: str, root: str | None, location: str | None, owner: str | None, rest: str) -> str:
    """Why an item may not take the key of another file's.

    Args:
        key: the key.
        root: the path of the source, where it has one beside its location.
        location: where it can be read again; None for standard input.
        owner: where the item lies that has the key; None for Python data.
        rest: what is said of the items before it.
    """
    from_owner = "" if owner is None else f", from {shown_location(owner)}"
    named = "'{stem}:'" if location else "TEXT, or with --id-column"
    source = root or (shown_location(location) if location else "standard input")
    return (
        f"Key {key!r} of {source} already belongs to a different item"
        f"{from_owner}. Give the new items keys of their own with --key-prefix {named}, or let "
        f"them take the place of the old ones with --replace. {rest}"
    )


def write_new(
    store: ItemWriter,
    items: Iterable[tuple[Given, bytes]],
    replaced: Sequence[int],
    source: int | None,
    vectors: NDArray[np.float32] | None,
) -> int:
    """Insert items with their codes, in the place of the rows ``replaced``; returns how many.

    ``vectors``, ``(n, d)``, are kept beside them.
    """
    store.delete_rows(replaced)
    rows = store.insert(
        (
            NewItem(given.key, code, given.fields, given.digest, given.position)
            for given, code in items
        ),
        source,
    )
    if vectors is not None and rows:
        store.keep_vectors(rows, vectors)
    return len(rows)


def write_beside(store: ItemWriter, changes: Changes, source: int | None) -> None:
    """Write what has changed beside values that stayed: fields, and where they lie."""
    store.change_fields(changes.refield)
    store.relocate(changes.moved, source)


def known_under(store: ItemReader, given: Sequence[Given]) -> dict[str, KnownItem]:
    """What is stored under the keys of items."""
    return store.by_keys([item.key for item in given])
