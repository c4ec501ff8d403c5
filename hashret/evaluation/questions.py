"""What an index is asked when it is evaluated: queries, their labels, and whom they leave out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.errors import InputError, UsageError
from hashret.index.encoding import chunks
from hashret.index.index import Index
from hashret.index.item_features import ItemFeatures
from hashret.progress import Progress, ProgressCallback
from hashret.sources import Source, content_hash
from hashret.store import StoredItem

DEFAULT_LABEL = "label"
BLOCK_ITEMS = 4096
NO_LABEL = -1


@dataclass(frozen=True)
class Database:
    """The items of an index, in the order of being added.

    Attributes:
        rows: their row numbers, ``int64``, ``(n,)``, ascending.
        codes: ``uint8``, ``(n, n_bits / 8)``.
        labels: a number for each label, ``int64``, ``(n,)``, -1 where there is none; None for an
            index without the field.
        names: the labels themselves, by number.
    """

    rows: NDArray[np.int64]
    codes: Codes
    labels: NDArray[np.int64] | None
    names: tuple[Any, ...] = ()

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of row numbers that are among ``rows``."""
        return np.searchsorted(self.rows, rows)


@dataclass(frozen=True)
class Questions:
    """Queries, and what is known of them.

    Attributes:
        codes: ``uint8``, ``(n_queries, n_bits / 8)``.
        own_places: the position in the database that each leaves out, -1 for none.
        labels: as those of the database; None without a label field.
        features: ``float32``, ``(n_queries, d)``, NaN in rows that cannot be read again; None when
            none can be.
        description: where they come from, in a few words.
    """

    codes: Codes
    own_places: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    features: NDArray[np.float32] | None
    description: str


def read_database(index: Index, label: str | None, progress: ProgressCallback) -> Database:
    """Read codes and labels; call it inside ``index.reader.state()``.

    Args:
        index: the index.
        label: the field that tells what is relevant; None for ``label`` where there is one.
        progress: told of the labels read.

    Raises:
        UsageError: no item has the field.
        InputError: fewer than two items.
    """
    store = index.reader.store
    rows, codes = store.codes(1)
    if len(rows) < 2:
        raise InputError(
            f"Evaluation needs an index of at least 2 items, {index.path} has {len(rows)}."
        )
    fields = store.field_names()
    if label is not None and label not in fields:
        known = f"its fields are {', '.join(fields)}" if fields else "its items have no fields"
        raise UsageError(f"No item of {index.path} has a field {label!r}: {known}.")
    name = label if label is not None else DEFAULT_LABEL
    if name not in fields:
        return Database(rows, codes, None)
    numbers: dict[Any, int] = {}
    labels = np.empty(len(rows), dtype=np.int64)
    done = 0
    for block in store.item_blocks(BLOCK_ITEMS):
        labels[done : done + len(block)] = [
            _number(item.fields.get(name), numbers) for item in block
        ]
        done += len(block)
        progress(Progress("reading", done, len(rows), "labels"))
    return Database(rows, codes, labels if numbers else None, tuple(numbers))


def own_questions(
    index: Index, database: Database, sample: int, seed: int, progress: ProgressCallback
) -> Questions:
    """A random sample of the index's own items, each leaving itself out.

    Call it inside ``index.reader.state()``.
    """
    rng = np.random.default_rng(seed)
    askable = np.arange(len(database.rows))
    if database.labels is not None:
        askable = np.flatnonzero(database.labels != NO_LABEL)
    chosen = np.sort(rng.choice(askable, min(sample, len(askable)), replace=False))
    items = _items_at(index, database.rows[chosen])
    return Questions(
        codes=database.codes[chosen],
        own_places=chosen,
        labels=None if database.labels is None else database.labels[chosen],
        features=_features_of(index, [item.key for item in items], progress),
        description=f"{len(chosen):,} of its own items, each leaving itself out",
    )


def questions_of(
    index: Index,
    database: Database,
    source: Source,
    label: str | None,
    sample: int,
    seed: int,
    progress: ProgressCallback,
) -> Questions:
    """The items of a source, at most ``sample``; one that is in the index leaves itself out.

    Raises:
        InputError: the source is of another kind or cannot be read, or its items have no labels
            where the index has.
    """
    index.encoder.check_kind(source)
    features, store = index.encoder.features, index.reader.store
    numbers = {name: number for number, name in enumerate(database.names)}
    known_labels = len(numbers)
    matrices, labels, own, seen = [], [], [], 0
    for chunk in chunks(source.sample(sample, np.random.default_rng(seed))):
        matrix, failures = features.matrix([item.value for item in chunk])
        failed = {failure.position for failure in failures}
        readable = [item for position, item in enumerate(chunk) if position not in failed]
        known = store.by_keys([item.key for item in readable])
        for item in readable:
            old = known.get(item.key)
            same = old is not None and old.content_hash == content_hash(item.value)
            own.append(old.row if old is not None and same else -1)
            value = item.fields.get(DEFAULT_LABEL if label is None else label)
            labels.append(_number(value, numbers))
        matrices.append(matrix)
        seen += len(chunk)
        progress(Progress("encoding", seen, min(sample, source.length), "queries"))
    if not labels:
        raise InputError(f"There is nothing to ask in {source.description}.")
    rows, numbered = np.concatenate(matrices), np.array(labels, dtype=np.int64)
    own_rows = np.array(own, dtype=np.int64)
    if database.labels is not None:
        asked = numbered != NO_LABEL
        if not asked.any():
            raise InputError(
                f"The queries have no field {label or DEFAULT_LABEL!r}, by which the index is "
                f"judged: {source.description}."
            )
        if not (numbered[asked] < known_labels).any():
            other = next(name for name, number in numbers.items() if number >= known_labels)
            raise InputError(
                f"None of the queries has a label of the index: theirs are such as {other!r}, "
                f"those of the index such as {database.names[0]!r}."
            )
        rows, numbered, own_rows = rows[asked], numbered[asked], own_rows[asked]
    own_places = np.where(own_rows >= 0, database.places(own_rows), -1)
    return Questions(
        codes=index.encoder.runtime.encode(rows),
        own_places=own_places,
        labels=None if database.labels is None else numbered,
        features=rows,
        description=f"{len(rows):,} of {source.description}",
    )


def feature_blocks(
    index: Index, database: Database, reading: ItemFeatures, progress: ProgressCallback
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Positions in the database, and feature rows, of all items that can be read again.

    Call it inside ``index.reader.state()``.

    Raises:
        InputError: none can be.
    """
    store = index.reader.store
    for keys, matrix in reading.rows(progress=progress):
        known = store.by_keys(keys)
        rows = np.array([known[key].row for key in keys], dtype=np.int64)
        yield database.places(rows), matrix


def _features_of(
    index: Index, keys: list[str], progress: ProgressCallback
) -> NDArray[np.float32] | None:
    features = np.full((len(keys), index.encoder.features.n_features), np.nan, dtype=np.float32)
    place = {key: number for number, key in enumerate(keys)}
    try:
        reading = ItemFeatures(index.reader.store, index.encoder.features)
        for found, matrix in reading.rows(keys, progress):
            features[[place[key] for key in found]] = matrix
    except InputError:
        return None
    return features


def _items_at(index: Index, rows: NDArray[np.int64]) -> list[StoredItem]:
    items = index.reader.store.items_of(rows)
    return [items[int(row)] for row in rows]


def _number(value: Any, numbers: dict[Any, int]) -> int:
    return NO_LABEL if value is None else numbers.setdefault(value, len(numbers))
