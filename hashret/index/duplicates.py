"""Near-duplicates among the items of an index: all pairs within a radius, or groups of them.

A group is a connected component of the pairs (single linkage): each of its items is within the
radius of another one of it, but two ends of a long chain may lie further apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, hamming, to_hex
from hashret.errors import DamagedIndexError
from hashret.index.snapshot import take_snapshot
from hashret.search.components import Components, components_of
from hashret.search.searching import as_bitmap, checked_integer
from hashret.search.segment import Segment
from hashret.store import ItemStore, StoredItem

if TYPE_CHECKING:
    from hashret.search.self_join import Pairs

SORTED_PAIRS = 1 << 15
"""So many pairs, and less than twice as many, are held and put in order at a time."""

ITEMS_AT_A_TIME = 4096


class DuplicatePair(NamedTuple):
    """Two items whose codes are near.

    Attributes:
        key_a: of the item that was added first.
        key_b: of the other.
        distance: between their codes, in bits.
    """

    key_a: str
    key_b: str
    distance: int


@dataclass(frozen=True, slots=True)
class DuplicateItem:
    """An item of a group of near-duplicates.

    Attributes:
        group: the number of its group, 1 for the largest.
        rank: 1 for the item of the group that was added first.
        key: its unique name.
        distance: to the first item of the group, in bits; in a chain it may exceed the radius.
        code: ``uint8``, shape ``(n_bits / 8,)``.
        fields: what is known about it, JSON values by name.
        location: where its value can be read again; None when it came from Python.
    """

    group: int
    rank: int
    key: str
    distance: int
    code: Codes = field(repr=False, compare=False)
    fields: dict[str, Any] = field(hash=False)
    location: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values: group, rank, key, distance, code (hexadecimal), location, fields."""
        return {
            "group": self.group,
            "rank": self.rank,
            "key": self.key,
            "distance": self.distance,
            "code": to_hex(self.code),
            "location": self.location,
            "fields": self.fields,
        }


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Near-duplicates of each other.

    Attributes:
        number: 1 for the largest group.
        items: at least two, as they were added.
    """

    number: int
    items: tuple[DuplicateItem, ...]

    def __len__(self) -> int:
        """How many items it has."""
        return len(self.items)

    def __iter__(self) -> Iterator[DuplicateItem]:
        """Its items, as they were added."""
        return iter(self.items)


class Duplicates:
    """Groups of near-duplicates, the largest first, then by their first item.

    Attributes:
        store: holds the state in which they were found.
        compared: how many items were compared with each other.
        sizes: how many items each group has.
    """

    def __init__(self, store: ItemStore, components: Components) -> None:
        """Tell by the ``store`` what the rows of ``components`` stand for."""
        self.store = store
        self.compared = components.compared
        self.sizes = np.diff(components.starts).tolist()
        self._components = components

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self.sizes)

    def items(self, limit: int | None = None, each: int | None = None) -> Iterator[DuplicateItem]:
        """The items of the first ``limit`` groups, at most ``each`` of a group; None for all.

        They are read as they are asked for, group by group, so that memory stays bounded.

        Raises:
            DamagedIndexError: the search files do not agree with the store.
        """
        found = self._components
        chosen = found.starts[: len(self) + 1 if limit is None else limit + 1]
        sizes = chosen[1:] - chosen[:-1]
        group = np.repeat(np.arange(len(sizes)), sizes)
        rank = np.arange(len(group)) - chosen[group]
        places = np.flatnonzero(rank < each) if each is not None else np.arange(len(group))
        for start in range(0, len(places), ITEMS_AT_A_TIME):
            some = places[start : start + ITEMS_AT_A_TIME]
            items = _stored(self.store, found.rows[some], found.codes[some])
            distances = hamming(found.codes[some], found.codes[chosen[group[some]]])
            for item, place, distance in zip(items, some, distances.tolist(), strict=True):
                yield DuplicateItem(
                    int(group[place]) + 1,
                    int(rank[place]) + 1,
                    item.key,
                    distance,
                    item.code,
                    item.fields,
                    item.location,
                )

    def groups(self, limit: int | None = None, each: int | None = None) -> Iterator[DuplicateGroup]:
        """The first ``limit`` groups with at most ``each`` of their items; see :meth:`items`."""
        for number, items in groupby(self.items(limit, each), key=attrgetter("group")):
            yield DuplicateGroup(number, tuple(items))


@contextmanager
def find_duplicates(folder: Path, radius: int, where: str | None = None) -> Iterator[Duplicates]:
    """Find the groups of near-duplicates in one committed state, and hold it.

    Others may read and change the index meanwhile. Memory: about 100 bytes a code, however many
    pairs there are.

    Args:
        folder: of the index.
        radius: the largest distance of a pair, in bits, inclusive.
        where: an SQL condition; only items that satisfy it are compared.

    Raises:
        UsageError: an impossible radius, or a condition that is not valid.
        DamagedIndexError: the store, or what it cannot do without, is damaged.

    Example:
        >>> with find_duplicates(path, radius=2) as found:  # doctest: +SKIP
        ...     for item in found.items():
        ...         item.group, item.key
    """
    radius = checked_integer(radius, "radius", 0)
    with _comparable(folder, where) as (store, segments, allowed):
        yield Duplicates(store, components_of(segments, radius, allowed))


def duplicate_groups(
    folder: Path, radius: int, where: str | None = None, limit: int | None = None
) -> list[DuplicateGroup]:
    """The first ``limit`` groups of near-duplicates, with all their items; None for all groups.

    Raises:
        UsageError: as :func:`find_duplicates`, or an impossible limit.
        DamagedIndexError: as :func:`find_duplicates`.
    """
    if limit is not None:
        limit = checked_integer(limit, "limit", 1)
    with find_duplicates(folder, radius, where) as found:
        return list(found.groups(limit))


def duplicate_pairs(folder: Path, radius: int, where: str | None = None) -> Iterator[DuplicatePair]:
    """All pairs of near-duplicates in one committed state, each once; memory stays bounded.

    Args:
        folder: of the index.
        radius: the largest distance, in bits, inclusive.
        where: an SQL condition; both items of a pair satisfy it.

    Returns:
        The pairs by distance, then as the items were added; where there are more than 32,768, they
        come in blocks of so many or more, each in this order.

    Raises:
        UsageError: an impossible radius; with the first pair: a condition that is not valid.
        DamagedIndexError: with any pair: the search files do not agree with the store.
    """
    return _pairs(folder, checked_integer(radius, "radius", 0), where)


@contextmanager
def _comparable(
    folder: Path, where: str | None
) -> Iterator[tuple[ItemStore, list[Segment], NDArray[np.uint8]]]:
    """A state in a store of its own: it may be held for long, while others read and write."""
    with closing(ItemStore.open(folder / "items.db")) as store, store.reading():
        snapshot = take_snapshot(store, folder)
        rows = None if where is None else store.rows_where(where)
        allowed = as_bitmap(snapshot.allowed(rows))
        yield store, [part.segment for part in snapshot.parts], allowed


def _pairs(folder: Path, radius: int, where: str | None) -> Iterator[DuplicatePair]:
    from hashret.search.self_join import pairs_of

    with _comparable(folder, where) as (store, segments, allowed):
        known: dict[int, tuple[str, Codes]] = {}
        for a, b, distances in _in_order(pairs_of(segments, radius, allowed, SORTED_PAIRS)):
            rows = np.union1d(a, b)
            known = _keys_and_codes(store, rows, known, segments[0].layout.n_bits)
            codes = np.stack([known[row][1] for row in rows.tolist()])
            actual = hamming(codes[np.searchsorted(rows, a)], codes[np.searchsorted(rows, b)])
            if (actual != distances).any():
                raise _disagreement(store, int(a[actual != distances][0]))
            for row_a, row_b, distance in zip(
                a.tolist(), b.tolist(), distances.tolist(), strict=True
            ):
                yield DuplicatePair(known[row_a][0], known[row_b][0], distance)


def _in_order(
    blocks: Iterator[Pairs],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]]:
    """Lower rows, higher rows and distances of pairs, in blocks that are in order."""
    held: list[Pairs] = []
    for block in chain(blocks, [None]):
        if block is not None:
            held.append(block)
        if held and (block is None or sum(map(len, held)) >= SORTED_PAIRS):
            a = np.concatenate([one.rows_a for one in held])
            b = np.concatenate([one.rows_b for one in held])
            distances = np.concatenate([one.distances for one in held])
            order = np.lexsort((b, a, distances))
            yield a[order], b[order], distances[order]
            held = []


def _keys_and_codes(
    store: ItemStore, rows: NDArray[np.int64], known: dict[int, tuple[str, Codes]], n_bits: int
) -> dict[int, tuple[str, Codes]]:
    """Of these rows; those ``known`` are not read again, for a large bucket is in many blocks."""
    found = {row: known[row] for row in rows.tolist() if row in known}
    missing = np.array([row for row in rows.tolist() if row not in found], dtype=np.int64)
    for start in range(0, len(missing), ITEMS_AT_A_TIME):
        some = missing[start : start + ITEMS_AT_A_TIME]
        for item in _stored(store, some):
            if item.code.size * 8 != n_bits:
                raise _disagreement(store, item.row)
            found[item.row] = (item.key, item.code)
    return found


def _stored(
    store: ItemStore, rows: NDArray[np.int64], codes: Codes | None = None
) -> list[StoredItem]:
    """The items of rows; what a segment says of them is checked before anyone sees it."""
    items = store.items_of(rows)
    for place, row in enumerate(rows.tolist()):
        if row not in items or (
            codes is not None and items[row].code.tobytes() != codes[place].tobytes()
        ):
            raise _disagreement(store, row)
    return [items[row] for row in rows.tolist()]


def _disagreement(store: ItemStore, row: int) -> DamagedIndexError:
    return DamagedIndexError(
        f"{store.path.parent / 'segments'} does not agree with items.db about row {row}. "
        "`hashret compact` makes the search files anew."
    )
