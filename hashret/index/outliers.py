"""The items that an autoencoder reconstructs worst: what is unlike that from which it learned.

Ranking by reconstruction error finds novelty and fraud: Hawkins et al., "Outlier detection using
replicator neural networks", DaWaK 2002; here the reconstruction starts from the code's bits.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from hashret.errors import UsageError
from hashret.index.encoding import feature_blocks
from hashret.index.item_features import ItemFeatures
from hashret.index.reader import Reader
from hashret.index.trained_encoder import TrainedEncoder
from hashret.progress import Progress, ProgressCallback
from hashret.sources import Item, SkippedInputs, Source


@dataclass(frozen=True, slots=True)
class Outlier:
    """An item that its bits describe badly.

    Attributes:
        rank: 1 for the largest error.
        key: its name, in the source or in the index.
        error: mean squared error of its reconstruction, in features scaled as the network's
            inputs.
        fields: what is known about it, JSON values by name.
        location: where its value can be read again; None when it came from Python.
    """

    rank: int
    key: str
    error: float
    fields: dict[str, Any] = field(hash=False)
    location: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values: rank, key, error, location, fields."""
        return {
            "rank": self.rank,
            "key": self.key,
            "error": float(f"{self.error:.6g}"),
            "location": self.location,
            "fields": self.fields,
        }


class Outliers(Sequence[Outlier]):
    """Items by descending error, then in the order in which they were read.

    Attributes:
        measured: how many items were compared.
        skipped: inputs, or stored items, that could not be read, each with its name and the reason.
    """

    def __init__(self, worst: Sequence[Outlier], measured: int, skipped: SkippedInputs) -> None:
        """Hold outliers that are already in order."""
        self.measured = measured
        self.skipped = skipped
        self._worst = tuple(worst)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._worst)

    @overload
    def __getitem__(self, index: int) -> Outlier: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Outlier]: ...
    def __getitem__(self, index: int | slice) -> Outlier | Sequence[Outlier]:
        """The outlier at a position, counted from 0."""
        return self._worst[index]

    def __repr__(self) -> str:
        """How many of how many."""
        return f"<Outliers: the {len(self)} worst of {self.measured:,}>"


class _Found(NamedTuple):
    key: str
    fields: Mapping[str, Any]
    location: str | None


def outliers_in_source(
    encoder: TrainedEncoder, source: Source, limit: int | None, progress: ProgressCallback
) -> Outliers:
    """The items of a source with the largest reconstruction errors; nothing is stored.

    Args:
        encoder: of the index that has learned what is usual.
        source: new items.
        limit: how many to keep, and to hold in memory; None for all.
        progress: told of the items read.

    Raises:
        InputError: the source holds another kind of items, or of another shape.
        UsageError: an impossible limit.
    """
    _check_limit(limit)
    encoder.check_kind(source)
    ranking = _Ranking(encoder, limit)
    broken = SkippedInputs()
    for part in source.parts:
        for items, matrix, skipped in feature_blocks(part, encoder.features):
            ranking.add([_found(item, part) for item in items], matrix)
            broken += skipped
            progress(Progress("reading", ranking.measured + broken.total, source.length))
    left_out = SkippedInputs(source.skipped)
    left_out.extend(broken)
    return ranking.outliers(left_out)


def outliers_in_index(
    reader: Reader, encoder: TrainedEncoder, limit: int | None, progress: ProgressCallback
) -> Outliers:
    """The items of an index with the largest reconstruction errors.

    Their features are kept vectors, or read again from where the items came.

    Args:
        reader: of the index.
        encoder: of the index.
        limit: how many to keep, and to hold in memory; None for all.
        progress: told of the items read.

    Raises:
        InputError: not one of the items can be read again.
        UsageError: an impossible limit.
    """
    _check_limit(limit)
    ranking = _Ranking(encoder, limit)
    with reader.state():
        features = ItemFeatures(reader.store, encoder.features)
        for keys, matrix in features.rows(progress=progress):
            ranking.add([_Found(key, {}, None) for key in keys], matrix)
        return ranking.outliers(features.unread, reader)


class _Ranking:
    """The worst items so far."""

    def __init__(self, encoder: TrainedEncoder, limit: int | None) -> None:
        self.measured = 0
        self._encoder = encoder
        self._limit = limit
        self._worst: list[tuple[float, _Found]] = []

    def add(self, items: list[_Found], matrix: NDArray[np.float32]) -> None:
        errors = self._encoder.reconstruction_error(matrix).tolist()
        self.measured += len(items)
        known = chain(self._worst, zip(errors, items, strict=True))
        if self._limit is None:
            self._worst = list(known)
        else:
            # As a stable sort would have it: of equal errors, the item that was read first.
            self._worst = heapq.nlargest(self._limit, known, key=itemgetter(0))

    def outliers(self, skipped: SkippedInputs, reader: Reader | None = None) -> Outliers:
        """In order; what a stored item is known by comes from its ``reader``."""
        worst = []
        ordered = sorted(self._worst, key=itemgetter(0), reverse=True)
        for rank, (error, found) in enumerate(ordered, start=1):
            item = found if reader is None else reader.item(found.key)
            worst.append(Outlier(rank, item.key, error, dict(item.fields), item.location))
        return Outliers(worst, self.measured, skipped)


def _found(item: Item, source: Source) -> _Found:
    return _Found(item.key, item.fields, source.place_of(item))


def _check_limit(limit: int | None) -> None:
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UsageError(f"limit must be a number of at least 1 or None, not {limit!r}.")
