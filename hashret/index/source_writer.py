"""The items of one source on their way into the store: compared, encoded, written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from hashret.encoder.runtime import Encoder
from hashret.errors import InputError
from hashret.features import Failure, Features
from hashret.index.differences import (
    Changes,
    Comparer,
    Given,
    Origin,
    known_under,
    refusal,
    write_beside,
    write_new,
)
from hashret.index.encoding import AddReport, chunks, skipped_item
from hashret.progress import Stopwatch
from hashret.sources import Item, SkippedInputs, Source, content_hashes
from hashret.store import ItemWriter, encode_fields
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


class _Made(NamedTuple):
    """A code, and the feature row ``(d,)``, which is empty where the index keeps none."""

    code: bytes
    vector: NDArray[np.float32]


@dataclass(slots=True)
class _Chunk:
    """Items that were compared with what is stored.

    Attributes:
        items: all of them.
        changes: what they change.
        made: codes of some of the new ones, by their places among these, that are stored already.
        coded: the codes to be of the others.
    """

    items: list[Item]
    changes: Changes
    made: dict[int, _Made] = field(default_factory=dict)
    coded: Future[Coded] | None = None

    def unmade(self) -> list[Item]:
        """The items that have to be encoded."""
        return [
            self.items[place]
            for number, place in enumerate(self.changes.places)
            if number not in self.made
        ]


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

    def steps(self) -> Iterator[Step]:
        """Write a chunk at a time."""
        self._source_id = self.store.source_id(self._source.location)
        source = self._source
        origin = Origin(
            source.location, source.passes and source.row_prefix is not None, self._replace
        )
        self._comparer = Comparer(origin, self._source_id, self.store.sources())
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
                yield Step(len(waiting.items), self._write(waiting), following is None)
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
        given = []
        digests = content_hashes([item.value for item in items])
        for item, digest in zip(items, digests, strict=True):
            if item.fields:
                self.field_names.update(item.fields)
            given.append(Given(item.key, encode_fields(item.fields), digest, item.position))
        known = {} if self._was_empty else known_under(self.store, given)
        chunk = _Chunk(items, self._comparer.changes(given, known))
        if chunk.changes.refused is not None:
            place, old = chunk.changes.refused
            self._refuse_another(items[place], old)
        self._unchanged += chunk.changes.unchanged
        self._find_renamed(chunk)
        return chunk

    def _find_renamed(self, chunk: _Chunk) -> None:
        """Take the codes of files whose content is that of a stored one: renamed ones."""
        new = chunk.changes.new
        files = {given.digest for given in new if given.position is None}
        if self._source_id is None or not files or self._was_empty:
            return
        stored = self.store.files_with(files)
        for number, given in enumerate(new):
            if given.position is None and given.digest in stored:
                row, code = stored[given.digest]
                # Read now: the row may be gone when this is written.
                vector = _NO_ROW if self._length is None else self.store.vectors_of([row])[0]
                chunk.made[number] = _Made(code, vector)

    def _refuse_another(self, item: Item, old: KnownItem) -> NoReturn:
        """Refuse an item under the key of another file's."""
        self._coder.features.matrix([item.value])  # another shape would be the better reason
        stored = f"The {self.stored_before:,} before it are" if self.stored_before else "Nothing is"
        owner = None if old.source is None else self._comparer.places[old.source]
        source = self._source
        raise InputError(refusal(item.key, source.root, source.location, owner, f"{stored} added."))

    # Write

    def _write(self, chunk: _Chunk) -> int:
        """Write a chunk; returns how many items were added or changed."""
        coded = chunk.coded.result() if chunk.coded is not None else Coded([], _NO_ROWS, [])
        with self._clock.time("store"):
            written = self._insert(chunk, self._usable(chunk, coded))
            write_beside(self.store, chunk.changes, self._source_id)
            self._updated += len(chunk.changes.refield)
        return written + len(chunk.changes.refield)

    def _usable(self, chunk: _Chunk, coded: Coded) -> list[tuple[Given, _Made]]:
        """New items with their codes, in order, without those that could not be encoded."""
        failed = {failure.position: failure.reason for failure in coded.failures}
        if failed:
            items = chunk.unmade()
            self._broken += [
                skipped_item(items[position], reason, self._source)
                for position, reason in failed.items()
            ]
        rows = coded.matrix if self._length is not None else repeat(_NO_ROW)
        made = map(_Made, coded.codes, rows)
        new = chunk.changes.new
        if not failed and not chunk.made:
            return list(zip(new, made, strict=True))
        encoded = (
            None if place in failed else next(made) for place in range(len(new) - len(chunk.made))
        )
        found = [
            (given, chunk.made[number] if number in chunk.made else next(encoded))
            for number, given in enumerate(new)
        ]
        return [(given, one) for given, one in found if one is not None]

    def _insert(self, chunk: _Chunk, usable: list[tuple[Given, _Made]]) -> int:
        """Insert items, in the place of those that have their keys; returns how many."""
        before = chunk.changes.replaced
        replaced = [before[given.key] for given, _ in usable if given.key in before]
        vectors = None
        if self._length is not None and usable:
            vectors = np.stack([made.vector for _, made in usable])
        written = write_new(
            self.store,
            ((given, made.code) for given, made in usable),
            replaced,
            self._source_id,
            vectors,
        )
        self._added += written - len(replaced)
        self._updated += len(replaced)
        self._replaced += len(replaced)
        self._recognized += sum(
            chunk.changes.new[number].key not in before for number in chunk.made
        )
        return written
