"""From a source to feature rows and codes, a block at a time, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.encoder.runtime import Encoder
from hashret.errors import InputError
from hashret.features import Features, VectorFeatures, learn_features
from hashret.features.text import MAX_CHARACTERS
from hashret.features.text_kinds import method_for
from hashret.progress import Progress, ProgressCallback, Stopwatch
from hashret.sources import Item, Skipped, SkippedInputs, Source
from hashret.sources.item import is_pil_image

CHUNK_ITEMS = 4096
"""Items that are read, encoded and written at a time, unless they are large."""

CHUNK_BYTES = 64 << 20
"""Files, texts and fields, or the features of arrays, are held in memory up to so many bytes at a
time."""

TRAINING_ITEMS = 100_000
"""The most items an encoder learns from; of more, a sample is drawn."""

TRAINING_BYTES = 512 << 20
"""The most memory for the features it learns from; long ones make the sample smaller."""

TRAINING_CHARACTERS = 100_000_000
"""The most characters of texts from which features are learned; long ones make the sample smaller.
"""

SHAPE_ITEMS = 1000
"""So many images or vectors tell what all are like."""


@dataclass(frozen=True, slots=True)
class AddReport:
    """What an add did.

    Attributes:
        added: items with a new key.
        updated: items whose value or fields changed under a known key.
        unchanged: items that were there already, the same.
        skipped: inputs that could not be used, each with its name and the reason; of more than a
            thousand, only the first are named, and ``skipped.total`` tells how many there were.
        recognized: of the added, files whose content was stored already under another name.
        pruned: items that were removed because their source no longer holds them.
        seconds: what it took, by stage: see :class:`~hashret.progress.Stopwatch`.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: SkippedInputs = field(default_factory=SkippedInputs)
    recognized: int = 0
    pruned: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False, hash=False)

    @classmethod
    def sum(cls, reports: Iterable[Self]) -> Self:
        """One report for several."""
        parts = list(reports)
        skipped = SkippedInputs()
        for part in parts:
            skipped.extend(part.skipped)
        return cls(
            added=sum(part.added for part in parts),
            updated=sum(part.updated for part in parts),
            unchanged=sum(part.unchanged for part in parts),
            skipped=skipped,
            recognized=sum(part.recognized for part in parts),
            pruned=sum(part.pruned for part in parts),
        )


def learned_features(
    source: Source, random: np.random.Generator, method: str, progress: ProgressCallback
) -> Features:
    """Learn from a sample of a source how its values become rows.

    A thousand images or vectors tell their shape; of texts all are read that an encoder learns
    from, up to 100 million characters.

    Args:
        source: a sample of it is read.
        random: draws the sample.
        method: of texts, see :func:`hashret.features.learn_features`.
        progress: told of the texts read.

    Raises:
        InputError: no item can be used.
        UsageError: a method for texts where there are none, or one that is not installed.
    """
    # Of a text, no more is looked at, and many are held where they tell in which letters all are.
    sample = (
        item.value[:MAX_CHARACTERS] if source.kind == "text" else item.value
        for item in source.sample(SHAPE_ITEMS, random)
    )
    first = next(sample, None)
    if first is None:
        raise _nothing_to_learn_from(source)
    values = chain([first], sample)
    if source.kind != "text" or source.length <= SHAPE_ITEMS:
        return learn_features(source.kind, values, method)
    looked_at = list(values)
    # Decided now, or the texts below were read, and told of as learned from, to decide it.
    method = method_for(looked_at, method)
    mean_length = sum(map(len, looked_at)) / len(looked_at)
    del looked_at
    count = min(source.length, TRAINING_ITEMS, int(TRAINING_CHARACTERS / max(mean_length, 1)))

    def texts() -> Iterator[str]:
        for number, item in enumerate(source.sample(count, random)):
            if number and number % CHUNK_ITEMS == 0:
                progress(Progress("features", number, count))
            yield item.value[:MAX_CHARACTERS]
        progress(Progress("features", count, count))

    return learn_features(source.kind, texts(), method)


def training_matrix(
    source: Source,
    random: np.random.Generator,
    progress: ProgressCallback,
    metric: str = "l2",
    method: str = "auto",
    clock: Stopwatch | None = None,
) -> tuple[Features, NDArray[np.float32]]:
    """Read what an encoder learns from.

    Args:
        source: a sample of it is read.
        random: draws the sample.
        progress: told of the items read.
        metric: ``"cosine"`` scales vectors to length one.
        method: of features of texts, see :func:`hashret.features.learn_features`.
        clock: told of the seconds.

    Returns:
        The features, and ``float32`` ``(n, d)`` in the order of the source.

    Raises:
        InputError: no item can be used.
        UsageError: as for :func:`learned_features`.
    """
    clock = clock or Stopwatch()
    with clock.time("read"):
        source = _read_once(source)
    with clock.time("features"):
        features = learned_features(source, random, method, progress)
    if isinstance(features, VectorFeatures):
        features = replace(features, metric=metric)
    n_rows = min(source.length, TRAINING_ITEMS, TRAINING_BYTES // (4 * features.n_features))
    matrix = np.empty((n_rows, features.n_features), dtype=np.float32)
    filled = 0
    broken = SkippedInputs()
    stream = chunks(source.sample(n_rows, random))
    while True:
        with clock.time("read"):
            chunk = next(stream, None)
        if chunk is None:
            break
        with clock.time("features"):
            rows, failures = features.matrix([item.value for item in chunk])
        matrix[filled : filled + len(rows)] = rows
        filled += len(rows)
        broken += [Skipped(chunk[failure.position].key, failure.reason) for failure in failures]
        progress(Progress("reading", filled + broken.total, n_rows))
    if filled == 0:
        raise _nothing_to_learn_from(source, broken)
    return features, matrix[:filled]


class _Held(Source):
    """The items of another source, held in memory."""

    def __init__(self, items: Sequence[Item], source: Source) -> None:
        super().__init__()
        self.kind, self.description, self.length = source.kind, source.description, len(items)
        self._held = items

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        return (self._held[position] for position in positions)


def _read_once(source: Source) -> Source:
    """The same items, held where they are texts that fit in a chunk, for they are drawn thrice."""
    if source.kind != "text" or source.length > TRAINING_ITEMS:
        return source
    items = []
    n_characters = 0
    for item in source:
        items.append(Item(item.key, item.value))
        n_characters += len(item.value)
        if n_characters > CHUNK_BYTES:
            return source
    # Where some cannot be read, which they are is for the source to say.
    return _Held(items, source) if len(items) == source.length else source


def _nothing_to_learn_from(source: Source, broken: Sequence[Skipped] = ()) -> InputError:
    every = [*source.skipped[:1], *broken[:1]]
    first = f" The first input that was skipped is {every[0].name}: " if every else ""
    why = f"{first}{every[0].reason}." if every else ""
    return InputError(f"There is nothing to learn from in {source.description}.{why}")


def encode_items(
    source: Source, features: Features, encoder: Encoder, progress: ProgressCallback
) -> tuple[list[str], Codes, SkippedInputs]:
    """Keys and codes ``(n, n_bits / 8)`` of a source's items, and the inputs that were skipped."""
    keys: list[str] = []
    codes = [np.empty((0, encoder.n_bits // 8), dtype=np.uint8)]
    broken = SkippedInputs()
    seen = 0
    for items, matrix, skipped in feature_blocks(source, features):
        seen += len(items) + len(skipped)
        broken += skipped
        keys.extend(item.key for item in items)
        codes.append(encoder.encode(matrix))
        progress(Progress("encoding", seen, source.length))
    left_out = SkippedInputs(source.skipped)
    left_out.extend(broken)
    return keys, np.concatenate(codes), left_out


def feature_blocks(
    source: Source, features: Features
) -> Iterator[tuple[list[Item], NDArray[np.float32], list[Skipped]]]:
    """A source's items block by block: those that can be used, their rows, and the others."""
    for chunk in chunks(source):
        matrix, failures = features.matrix([item.value for item in chunk])
        failed = {failure.position for failure in failures}
        skipped = [skipped_item(chunk[f.position], f.reason, source) for f in failures]
        yield [item for p, item in enumerate(chunk) if p not in failed], matrix, skipped


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items in lists that are short enough, and of few enough bytes, to be held in memory."""
    chunk: list[Item] = []
    n_bytes = 0
    for item in items:
        chunk.append(item)
        if isinstance(item.value, bytes | str):
            n_bytes += len(item.value)
        elif isinstance(item.value, np.ndarray):
            n_bytes += 4 * item.value.size  # as features, float32
        elif is_pil_image(item.value):
            n_bytes += 4 * item.value.width * item.value.height
        if item.fields:
            n_bytes += sum(len(text) for text in item.fields.values() if isinstance(text, str))
        if len(chunk) == CHUNK_ITEMS or n_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def skipped_item(item: Item, reason: str, source: Source) -> Skipped:
    """An item of a source that was left out, under the name and place where it is found there."""
    in_file = item.position is not None and source.location is not None
    name = f"{source.root or source.location}#{item.position}" if in_file else item.key
    return Skipped(name, f"{item.place}: {reason}" if item.place else reason)
