"""The feature rows of an index's own items, read again from where the items came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError
from hashret.features import Features
from hashret.index.encoding import CHUNK_BYTES, CHUNK_ITEMS, chunks
from hashret.progress import Progress, ProgressCallback, no_progress
from hashret.sources import Item, Skipped, SkippedInputs, ValueReader, content_hash
from hashret.store import ItemStore, StoredItem

MAX_ROW_DIGITS = 18


class ItemFeatures:
    """Reads the feature rows of stored items once more.

    They are the kept vectors (float16, scaled) where the index keeps them. Otherwise an item's
    value is looked up where it came from, and used only if it is still what it was when it was
    stored, by its content hash. A URL is fetched only inside :func:`hashret.sources.fetching`.

    Attributes:
        unread: items that the latest reading, as far as it has come, could not read: each with its
            key and the reason.

    Example:
        >>> with reader.state():  # doctest: +SKIP
        ...     for keys, rows in ItemFeatures(store, encoder.features).rows():
        ...         measure(keys, rows)
    """

    def __init__(self, store: ItemStore, features: Features) -> None:
        """Read for the items of ``store``, whose values became rows by ``features``."""
        self.unread = SkippedInputs()
        self._store = store
        self._features = features

    def rows(
        self, keys: Sequence[str] | None = None, progress: ProgressCallback = no_progress
    ) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Blocks of keys and their feature rows; memory stays bounded.

        Call it inside ``store.reading()``, which must last as long as the iteration.

        Args:
            keys: of these items, each named once; None reads all.
            progress: told of the items read, as the stage ``"reading"``.

        Yields:
            Keys, block by block in the order of being added, and ``float32`` rows
            ``(len(keys), n_features)``; within a block, rows of one file are in its order. Items
            that cannot be read, or do not exist, are absent and named in ``unread``.

        Raises:
            InputError: not one of the items can be read.
        """
        self.unread = SkippedInputs()
        total = self._store.count() if keys is None else len(keys)
        done = 0
        for names, matrix in self._read(keys, total):
            done += len(names)
            if names:
                yield names, matrix
            progress(Progress("reading", done + self.unread.total, total))
        if total and not done:
            first = self.unread[0]
            raise InputError(
                f"None of the {total:,} items could be read again. The first is {first.name}: "
                f"{first.reason.rstrip('.')}."
            )

    def _read(
        self, keys: Sequence[str] | None, total: int
    ) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        length = self._store.vector_length
        if length is not None:
            for block in self._blocks(keys, max(1, min(CHUNK_ITEMS, CHUNK_BYTES // (4 * length)))):
                matrix = self._store.vectors_of([item.row for item in block])
                yield [item.key for item in block], matrix
            return
        if total and not self._store.sources():
            raise InputError(
                "The items of this index came from Python or through standard input and are not on "
                "disk, so they cannot be read again. An index made with --keep-vectors "
                "(keep_vectors=True in Python) keeps their features."
            )
        for chunk in chunks(self.values(keys)):
            matrix, failures = self._features.matrix([item.value for item in chunk])
            failed = {failure.position: failure.reason for failure in failures}
            self.unread += [Skipped(chunk[p].key, reason) for p, reason in failed.items()]
            yield [item.key for p, item in enumerate(chunk) if p not in failed], matrix

    def values(self, keys: Sequence[str] | None = None) -> Iterator[Item]:
        """Items with their values, as they were stored; otherwise as :meth:`rows`.

        Items that cannot be read again are absent and named in ``unread``.
        """
        reader = ValueReader(stored=True)
        for block in self._blocks(keys, CHUNK_ITEMS):
            known = self._store.by_keys([item.key for item in block])
            for item in _by_file(block):
                try:
                    value = self._value(reader, item, known[item.key].content_hash)
                except InputError as error:
                    self.unread.append(Skipped(item.key, str(error)))
                    continue
                yield Item(item.key, value)

    def _blocks(self, keys: Sequence[str] | None, size: int) -> Iterable[list[StoredItem]]:
        if keys is None:
            yield from self._store.item_blocks(size)
            return
        known = self._store.by_keys(keys)
        self.unread += [Skipped(key, "no item has this key") for key in keys if key not in known]
        # By row, for the items of one file then follow each other.
        rows = sorted(item.row for item in known.values())
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            items = self._store.items_of(block)
            yield [items[row] for row in block]

    def _value(self, reader: ValueReader, item: StoredItem, digest: bytes) -> object:
        """The item's value as it was stored.

        Raises:
            InputError: it is gone, or another one; the message is the reason.
        """
        if item.location is None:
            raise InputError("it came from Python and is not on disk")
        value = reader.read(item.location)
        if self._features.kind == "vectors" and isinstance(value, np.ndarray):
            value = value.reshape(-1)  # as a source of vectors gives what has more dimensions
        if content_hash(value) != digest:
            raise InputError(f"{item.location} has changed since it was indexed")
        return value


def _by_file(items: Sequence[StoredItem]) -> list[StoredItem]:
    """Items with the rows of a file together and ascending, for a table is read from its begin."""
    files: dict[str, int] = {}

    def place(item: StoredItem) -> tuple[int, int]:
        location = item.location or item.key
        file, _, digits = location.rpartition("#")
        is_row = bool(file) and digits.isdecimal() and len(digits) <= MAX_ROW_DIGITS
        name, row = (file, int(digits)) if is_row else (location, 0)
        return files.setdefault(name, len(files)), row

    return sorted(items, key=place)
