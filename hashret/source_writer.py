"""The items of one source on their way into the store: compared, encoded, written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.encoder.runtime import Encoder
from hashret.errors import InputError
from hashret.features import Failure, Features
from hashret.ingest import AddReport, chunks, skipped_item
from hashret.sources import Item, SkippedInputs, Source, content_hashes, is_gone
from hashret.sources.locations import shown_location
from hashret.stopwatch import Stopwatch
from hashret.store import ItemWriter, NewItem, encode_fields
from hashret.store.items import KnownItem

_log = logging.getLogger("hashret")

_NO_ROW = np.empty(0, dtype=np.float32)
_NO_ROWS = np.empty((0, 0), dtype=np.float32)


class Coder:
    """Encodes values in a thread of its own, while others are read and written.

    Args:
        features: make rows of values.
        encoder: makes codes of rows.
        clock: told of the seconds that both take.
    """

    def __init__(self, features: Features, encoder: Encoder, clock: Stopwatch) -> None:
        """Start the thread when there is something to encode."""
        self.features = features
        self._encoder, self._clock = encoder, clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hashret-encode")

    def begin(self, items: list[Item]) -> Future[Coded]:
        """Begin to encode the values of items."""
        return self._pool.submit(self._coded, items)

    def close(self) -> None:
        """Wait for what was begun, and end the thread."""
        self._pool.shutdown(cancel_futures=True)

    def _coded(self, items: list[Item]) -> Coded:
        if not items:
            return Coded([], np.empty((0, self.features.n_features), np.float32), [])
        with self._clock.time("features"):
            matrix, failures = self.features.matrix([item.value for item in items])
        with self._clock.time("encode"):
            codes = self._encoder.encode(matrix)
        width = codes.shape[1]
        joined = codes.tobytes()
        split = [joined[start : start + width] for start in range(0, len(joined), width)]
        return Coded(split, matrix, failures)


class Coded(NamedTuple):
    """Codes and feature rows of the values that could be used, in order, and the others."""

    codes: list[bytes]
    matrix: NDArray[np.float32]
    failures: list[Failure]


class Step(NamedTuple):
    """What one step of a :class:`SourceWriter` did.

    Attributes:
        seen: how many items it saw.
        changed: how many of them it added or changed.
        is_last: whether its source holds no more.
    """

    seen: int
    changed: int
    is_last: bool


class _New(NamedTuple):
    """An item whose value is not stored under its key, with its fields as JSON and its hash."""

    item: Item
    fields: str
    digest: bytes


class _Made(NamedTuple):
    """A code, and the feature row ``(d,)``, which is empty where the index keeps none."""

    code: bytes
    vector: NDArray[np.float32]


@dataclass(slots=True)
class _Chunk:
    """Items that were compared with what is stored.

    Attributes:
        seen: how many there are.
        replaced: the rows of items whose keys get other values, by key.
        new: those whose values are not stored under their keys.
        made: codes of some of these, by their places in ``new``, that are stored already.
        coded: the codes to be of the others.
        refield: rows and the fields that they get.
        moved: rows and positions of what now lies in this source.
    """

    seen: int
    replaced: dict[str, int] = field(default_factory=dict)
    new: list[_New] = field(default_factory=list)
    made: dict[int, _Made] = field(default_factory=dict)
    coded: Future[Coded] | None = None
    refield: list[tuple[int, str]] = field(default_factory=list)
    moved: list[tuple[int, int | None]] = field(default_factory=list)

    def unmade(self) -> list[Item]:
        """The items that have to be encoded."""
        return [given.item for place, given in enumerate(self.new) if place not in self.made]


class SourceWriter:
    """Writes the items of one source, chunk by chunk: each is encoded while others are written.

    Attributes:
        store: the transaction that is open; it may be another one after each step.
        field_names: the names of all fields so far.
        stored_before: how many items earlier transactions have stored for good.
    """

    def __init__(self, source: Source, coder: Coder, clock: Stopwatch, *, replace: bool) -> None:
        """Take a source; :attr:`store` is set before the first step."""
        self.store: ItemWriter
        self.field_names: set[str] = set()
        self.stored_before = 0
        self._source, self._coder, self._clock = source, coder, clock
        self._replace = replace
        self._broken = SkippedInputs()
        self._added = self._updated = self._unchanged = self._recognized = self._replaced = 0
        self._gone: dict[int, bool] = {}

    def steps(self) -> Iterator[Step]:
        """Write a chunk at a time."""
        self._source_id = self.store.source_id(self._source.location)
        self._places = self.store.sources()
        # Then no key can be known, for they come once each.
        self._was_empty = self.store.count() == 0
        self._length = self.store.vector_length
        waiting: _Chunk | None = None
        stream = chunks(self._source)
        while True:
            with self._clock.time("read"):
                items = next(stream, None)
            following = None
            if items is not None:
                with self._clock.time("compare"):
                    following = self._compared(items)
                following.coded = self._coder.begin(following.unmade())
            if waiting is not None:
                yield Step(waiting.seen, self._write(waiting), following is None)
            if following is None:
                return
            waiting = following

    def report(self) -> AddReport:
        """What was done so far."""
        skipped = SkippedInputs(self._source.skipped)
        skipped.extend(self._broken)
        return AddReport(
            self._added,
            self._updated,
            self._unchanged,
            skipped,
            self._recognized,
        )

    def warn_of_renumbering(self) -> None:
        """Warn where most rows hold something else than before, as those of another file would."""
        before = self._updated + self._unchanged
        source = self._source
        if source.row_prefix is None or source.location is None or 2 * self._replaced <= before:
            return
        _log.warning(
            "%s of %s items of %s that were there have changed, as their keys are the numbers of "
            "its rows. If it is another file of the same name by now, keep the old items by "
            "--key-prefix, or name a column of keys with --id-column.",
            f"{self._replaced:,}",
            f"{before:,}",
            source.root,
        )

    # Compare

    def _compared(self, items: list[Item]) -> _Chunk:
        chunk = _Chunk(len(items))
        known = {} if self._was_empty else self.store.by_keys([item.key for item in items])
        digests = content_hashes([item.value for item in items])
        for item, digest in zip(items, digests, strict=True):
            if item.fields:
                self.field_names.update(item.fields)
            fields = encode_fields(item.fields)
            old = known.get(item.key)
            if old is not None:
                if not item.fields and self._is_elsewhere(old):
                    # Part of a folder, given alone, does not show the labels of the whole.
                    fields = old.fields
                if old.content_hash == digest:
                    self._note_changes(item, fields, old, chunk)
                    continue
                self._refuse_another(item, old)
                chunk.replaced[item.key] = old.row
            chunk.new.append(_New(item, fields, digest))
        self._find_renamed(chunk)
        return chunk

    def _is_elsewhere(self, old: KnownItem) -> bool:
        return self._source_id not in (None, old.source)

    def _note_changes(self, item: Item, fields: str, old: KnownItem, chunk: _Chunk) -> None:
        """Note what has changed beside a value that is stored under its key."""
        elsewhere = self._is_elsewhere(old)
        changed = old.fields != fields
        if (
            changed or self._is_gone(old.source)
            if elsewhere
            else old.position != item.position and self._source_id is not None
        ):
            chunk.moved.append((old.row, item.position))
        if changed:
            chunk.refield.append((old.row, fields))
        else:
            self._unchanged += 1

    def _find_renamed(self, chunk: _Chunk) -> None:
        """Take the codes of files whose content is that of a stored one: renamed ones."""
        files = {given.digest for given in chunk.new if given.item.position is None}
        if self._source_id is None or not files or self._was_empty:
            return
        stored = self.store.files_with(files)
        for place, given in enumerate(chunk.new):
            if given.item.position is None and given.digest in stored:
                row, code = stored[given.digest]
                # Read now: the row may be gone when this is written.
                vector = _NO_ROW if self._length is None else self.store.vectors_of([row])[0]
                chunk.made[place] = _Made(code, vector)

    def _is_gone(self, source: int | None) -> bool:
        """Whether what an item came from is no longer there; Python data never stays."""
        if source is None:
            return True
        if source not in self._gone:
            self._gone[source] = is_gone(self._places[source])
        return self._gone[source]

    def _refuse_another(self, item: Item, old: KnownItem) -> None:
        """Refuse an item under the key of another file's."""
        # Row numbers mean something within their file only. Paths, and keys that come from Python,
        # mean the same item wherever they are met, so there another value is an update.
        source, passing = self._source, self._source.passes and self._source.row_prefix is not None
        if self._replace or (
            not passing and (item.position is None or old.source in (None, self._source_id))
        ):
            return
        self._coder.features.matrix([item.value])  # another shape would be the better reason
        stored = f"The {self.stored_before:,} before it are" if self.stored_before else "Nothing is"
        owner = "" if old.source is None else f", from {shown_location(self._places[old.source])}"
        named = "'{stem}:'" if source.location else "TEXT, or with --id-column"
        raise InputError(
            f"Key {item.key!r} of {source.root or 'standard input'} already belongs to a "
            f"different item{owner}. Give the new items keys of their own with --key-prefix "
            f"{named}, or let them take the place of the old ones with --replace. {stored} added."
        )

    # Write

    def _write(self, chunk: _Chunk) -> int:
        """Write a chunk; returns how many items were added or changed."""
        coded = chunk.coded.result() if chunk.coded is not None else Coded([], _NO_ROWS, [])
        with self._clock.time("store"):
            written = self._insert(chunk, self._usable(chunk, coded))
            self.store.change_fields(chunk.refield)
            self.store.relocate(chunk.moved, self._source_id)
            self._updated += len(chunk.refield)
        return written + len(chunk.refield)

    def _usable(self, chunk: _Chunk, coded: Coded) -> list[tuple[_New, _Made]]:
        """New items with their codes, in order, without those that could not be encoded."""
        items = chunk.unmade()
        failed = {failure.position: failure.reason for failure in coded.failures}
        self._broken += [
            skipped_item(items[position], reason, self._source)
            for position, reason in failed.items()
        ]
        rows = coded.matrix if self._length is not None else repeat(_NO_ROW)
        made = map(_Made, coded.codes, rows)
        if not failed and not chunk.made:
            return list(zip(chunk.new, made, strict=True))
        encoded = (None if place in failed else next(made) for place in range(len(items)))
        found = [
            (given, chunk.made[place] if place in chunk.made else next(encoded))
            for place, given in enumerate(chunk.new)
        ]
        return [(given, one) for given, one in found if one is not None]

    def _insert(self, chunk: _Chunk, usable: list[tuple[_New, _Made]]) -> int:
        """Insert items, in the place of those that have their keys; returns how many."""
        replaced = []
        if chunk.replaced:
            keys = [given.item.key for given, _ in usable]
            replaced = [chunk.replaced[key] for key in keys if key in chunk.replaced]
        self.store.delete_rows(replaced)
        rows = self.store.insert(
            (
                NewItem(item.key, made.code, fields, digest, item.position)
                for (item, fields, digest), made in usable
            ),
            self._source_id,
        )
        if self._length is not None and rows:
            self.store.keep_vectors(rows, np.stack([made.vector for _, made in usable]))
        self._added += len(rows) - len(replaced)
        self._updated += len(replaced)
        self._replaced += len(replaced)
        self._recognized += sum(
            chunk.new[place].item.key not in chunk.replaced for place in chunk.made
        )
        return len(rows)
