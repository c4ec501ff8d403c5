"""From a source to stored items: compare with what is there, encode what is new, write, sweep."""

from __future__ import annotations

import dataclasses
from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashret.encoder.runtime import Encoder
from hashret.errors import InputError, UsageError
from hashret.features import Features
from hashret.ingest import AddReport, Progress, ProgressCallback, chunks, skipped_item
from hashret.sources import Item, Skipped, Source, content_hash, is_gone
from hashret.store import ItemWriter, NewItem, encode_fields
from hashret.store.items import KnownItem

_SWEPT_AT_A_TIME = 10_000


def store_source(
    store: ItemWriter,
    source: Source,
    features: Features,
    encoder: Encoder,
    *,
    replace: bool,
    prune: bool,
    progress: ProgressCallback,
) -> AddReport:
    """Write a source's items, in a transaction; items that are there stay untouched.

    An item belongs to the source that last gave it something: its value, or its fields. Given again
    unchanged, as part of a folder or a copy of a file, it stays with the source it has, so that
    the folder's labels are not lost, unless that source is no longer there.

    An image file under a new name, whose content is that of a stored one, takes its code.

    Args:
        store: the transaction.
        source: the items; every key once.
        features: the index's features.
        encoder: the index's encoder.
        replace: let an item take the key of another source's different item.
        prune: then remove items that came from the source before and are no longer in it.
        progress: told of the items read.

    Returns:
        Counts, and the inputs that were skipped, by name.

    Raises:
        InputError: a key belongs to another source's different item and ``replace`` is False, or
            an array has another shape than the index.
        UsageError: ``prune``, and a part of the source is not on disk.
    """
    parts = source.parts
    if prune and any(part.location is None for part in parts):
        raise UsageError(
            "prune removes what is no longer in a folder or file, and items given from Python have "
            "none to compare with; remove them by their keys."
        )
    report = AddReport.sum(
        _SourceWriter(store, part, features, encoder, replace=replace).write(progress)
        for part in parts
    )
    # Last: what one of the sources no longer holds may have been found in another.
    pruned = sum(_sweep(store, part) for part in parts) if prune else 0
    return dataclasses.replace(report, pruned=pruned)


class _New(NamedTuple):
    """An item whose value is not stored under its key, with its fields as JSON and its hash."""

    item: Item
    fields: str
    digest: bytes


class _Made(NamedTuple):
    """A code, and the feature row ``(d,)`` where the index keeps them."""

    code: bytes
    vector: NDArray[np.float32]


class _SourceWriter:
    """Writes the items of one source, chunk by chunk."""

    def __init__(
        self,
        store: ItemWriter,
        source: Source,
        features: Features,
        encoder: Encoder,
        *,
        replace: bool,
    ) -> None:
        self._store, self._source = store, source
        self._features, self._encoder = features, encoder
        self._replace = replace
        self._source_id = store.source_id(source.location)
        self._field_names: set[str] = set()
        self._broken: list[Skipped] = []
        self._added = self._updated = self._unchanged = self._recognized = 0
        self._places = store.sources()
        self._gone: dict[int, bool] = {}

    def write(self, progress: ProgressCallback) -> AddReport:
        """Write all of them."""
        seen = 0
        for chunk in chunks(self._source):
            seen += len(chunk)
            self._write_chunk(chunk)
            progress(Progress("storing", seen, self._source.length))
        self._store.note_fields(self._field_names)
        return AddReport(
            self._added,
            self._updated,
            self._unchanged,
            [*self._source.skipped, *self._broken],
            self._recognized,
        )

    def _write_chunk(self, chunk: list[Item]) -> None:
        known = self._store.by_keys([item.key for item in chunk])
        new = []
        refield: list[tuple[int, str]] = []
        moved: list[tuple[int, int | None]] = []
        for item in chunk:
            self._field_names.update(item.fields)
            given = _New(item, encode_fields(item.fields), content_hash(item.value))
            old = known.get(item.key)
            if old is None:
                new.append(given)
                continue
            elsewhere = self._source_id not in (None, old.source)
            if elsewhere and not item.fields:
                # Part of a folder, given alone, does not show the labels of the whole.
                given = given._replace(fields=old.fields)
            if old.content_hash != given.digest:
                self._refuse_another(item, old)
                new.append(given)
                continue
            changed = old.fields != given.fields
            if (
                changed or self._is_gone(old.source)
                if elsewhere
                else old.position != item.position and self._source_id is not None
            ):
                moved.append((old.row, item.position))
            if changed:
                refield.append((old.row, given.fields))
            else:
                self._unchanged += 1
        self._write_new(new, known)
        self._store.change_fields(refield)
        self._store.relocate(moved, self._source_id)
        self._updated += len(refield)

    def _write_new(self, new: list[_New], known: dict[str, KnownItem]) -> None:
        """Insert items, in the place of those that have their keys."""
        made = self._known_by_content(new)
        recognized = set(made)
        made.update(self._encoded([given for given in new if given.item.key not in made]))
        usable = [given for given in new if given.item.key in made]
        replaced = [known[given.item.key].row for given in usable if given.item.key in known]
        self._store.delete_rows(replaced)
        rows = self._store.insert(
            (
                NewItem(item.key, made[item.key].code, fields, digest, item.position)
                for item, fields, digest in usable
            ),
            self._source_id,
        )
        if usable and self._store.vector_length is not None:
            vectors = np.stack([made[given.item.key].vector for given in usable])
            self._store.keep_vectors(rows, vectors)
        self._added += len(usable) - len(replaced)
        self._updated += len(replaced)
        self._recognized += len(recognized.difference(known))

    def _known_by_content(self, new: list[_New]) -> dict[str, _Made]:
        """The codes of image files, by key, whose content is that of a stored one: renamed ones."""
        if self._source_id is None:
            return {}
        files = [given for given in new if given.item.position is None]
        stored = self._store.files_with({given.digest for given in files})
        found = [
            (given.item.key, *stored[given.digest]) for given in files if given.digest in stored
        ]
        vectors = np.empty((len(found), 0), dtype=np.float32)
        if self._store.vector_length is not None:
            vectors = self._store.vectors_of([row for _, row, _ in found])
        return {
            key: _Made(code, vector) for (key, _, code), vector in zip(found, vectors, strict=True)
        }

    def _encoded(self, new: list[_New]) -> dict[str, _Made]:
        """Codes, by key, of the items that can be read; the others are noted as broken."""
        if not new:
            return {}
        matrix, failures = self._features.matrix([given.item.value for given in new])
        failed = {failure.position: failure.reason for failure in failures}
        self._broken += [
            skipped_item(new[position].item, reason, self._source)
            for position, reason in failed.items()
        ]
        keys = [given.item.key for place, given in enumerate(new) if place not in failed]
        codes = self._encoder.encode(matrix)
        return {
            key: _Made(code.tobytes(), vector)
            for key, code, vector in zip(keys, codes, matrix, strict=True)
        }

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
        if self._replace or item.position is None or old.source in (None, self._source_id):
            return
        self._features.matrix([item.value])  # another shape would be the better reason
        raise InputError(
            f"Key {item.key!r} of {self._source.location} already belongs to a different item, "
            f"from {self._places[old.source]}. Give the new items keys of their own with "
            "--key-prefix '{stem}:', or let them take the place of the old ones with --replace. "
            "Nothing was added."
        )


def _sweep(store: ItemWriter, source: Source) -> int:
    """Remove items that came from a source and are no longer in it; returns how many.

    In a folder, those are all files below it, whichever folder they were once given with.
    """
    place = source.location or ""
    items = store.rows_from(place) if source.has_rows else store.files_under(place)
    gone = array("q", (row for row, key in items if not source.holds(key)))
    for start in range(0, len(gone), _SWEPT_AT_A_TIME):
        store.delete_rows(gone[start : start + _SWEPT_AT_A_TIME])
    return len(gone)
