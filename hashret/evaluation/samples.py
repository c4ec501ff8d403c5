"""Items with their features and labels, from a source or from an index, as matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError, UsageError
from hashret.evaluation.questions import BLOCK_ITEMS, DEFAULT_LABEL
from hashret.features import Features
from hashret.index.encoding import TRAINING_BYTES, chunks, learned_features
from hashret.index.index import Index
from hashret.index.item_features import ItemFeatures
from hashret.progress import Progress, ProgressCallback
from hashret.sources import Source


@dataclass(frozen=True)
class Sample:
    """Some items.

    Attributes:
        keys: of the items.
        matrix: their features, ``float32``, ``(n, d)``.
        labels: one an item; None where not all have one.
        features: how values become rows.
    """

    keys: list[str]
    matrix: NDArray[np.float32]
    labels: list[Any] | None
    features: Features


def sample_of_source(
    source: Source,
    count: int,
    *,
    label: str | None = None,
    features: Features | None = None,
    seed: int = 0,
    progress: ProgressCallback,
) -> Sample:
    """At most ``count`` items of a source, drawn at random, as far as 512 MB of features go.

    Args:
        source: the items.
        count: how many.
        label: the field that holds the labels; None for ``label``, where there is one.
        features: those of an index; None learns them from the source.
        seed: of what is drawn.
        progress: told of the items read.

    Raises:
        UsageError: no item has the field ``label``.
        InputError: no item can be used.
    """
    rng = np.random.default_rng(seed)
    if features is None:
        features = learned_features(source, rng, "auto", progress)
    count = min(count, source.length, max(TRAINING_BYTES // (4 * features.n_features), 1))
    keys: list[str] = []
    labels: list[Any] = []
    parts = []
    for chunk in chunks(source.sample(count, rng)):
        matrix, failures = features.matrix([item.value for item in chunk])
        failed = {failure.position for failure in failures}
        readable = [item for position, item in enumerate(chunk) if position not in failed]
        keys += [item.key for item in readable]
        labels += [item.fields.get(label or DEFAULT_LABEL) for item in readable]
        parts.append(matrix)
        progress(Progress("reading", len(keys), count))
    if not keys:
        raise InputError(f"None of the items can be read: {source.description}.")
    return Sample(keys, np.concatenate(parts), _all_labels(labels, label), features)


def sample_of_index(
    index: Index,
    count: int,
    *,
    label: str | None = None,
    seed: int = 0,
    progress: ProgressCallback,
) -> Sample:
    """At most ``count`` of an index's own items, read again; as `sample_of_source` otherwise.

    Raises:
        UsageError: no item has the field ``label``.
        InputError: none of the items can be read again.
    """
    features, store = index.encoder.features, index.reader.store
    count = min(count, max(TRAINING_BYTES // (4 * features.n_features), 1))
    with index.reader.state():
        rows, _ = store.codes(1)
        rng = np.random.default_rng(seed)
        chosen = rows[np.sort(rng.choice(len(rows), min(count, len(rows)), replace=False))]
        values: dict[str, Any] = {}
        for start in range(0, len(chosen), BLOCK_ITEMS):
            for item in store.items_of(chosen[start : start + BLOCK_ITEMS]).values():
                values[item.key] = item.fields.get(label or DEFAULT_LABEL)
        if not values:
            raise InputError(f"{index.path} holds no items.")
        keys: list[str] = []
        parts = []
        for found, matrix in ItemFeatures(store, features).rows(list(values), progress):
            keys += found
            parts.append(matrix)
    labels = [values[key] for key in keys]
    return Sample(keys, np.concatenate(parts), _all_labels(labels, label), features)


def _all_labels(labels: list[Any], name: str | None) -> list[Any] | None:
    missing = sum(label is None for label in labels)
    if missing and name is not None:
        raise UsageError(f"{missing:,} of {len(labels):,} items have no field {name!r}.")
    return None if missing else labels
