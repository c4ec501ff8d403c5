"""From a source to the shards of a cluster, as a stream of blocks through Ray Data.

::

    read a part -> block -> compare with the shards -> features, codes of what is new -> shards

Each arrow moves one block. Whoever encodes waits for the shards' replies before it takes the next
block, and whoever reads waits for those who encode, so that what is under way is bounded by the
number of tasks, however large the source is. Of each block, only a line of counts comes back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hashret.cluster.blocks import (
    BLOCK_BYTES,
    blocks_of,
    delivery,
    error_block,
    error_in,
    skipped_block,
    split_skipped,
    values_of,
)
from hashret.cluster.cluster_layout import Layout
from hashret.cluster.failures import kind_and_message, raised, ray_failures
from hashret.cluster.field_names import agree_on, field_names
from hashret.cluster.parts import OpenedSource, Part, read_part, skipped_in
from hashret.cluster.published import storage_at
from hashret.errors import HashretError
from hashret.index.encoding import CHUNK_ITEMS, AddReport
from hashret.index.trained_encoder import TrainedEncoder
from hashret.progress import Progress, ProgressCallback
from hashret.sources import Skipped, SkippedInputs
from hashret.store import ItemStore

READING_CPUS = 0.25
"""Different numbers, or Ray would read and encode in one task, one after the other."""

ENCODING_CPUS = 0.5

MOST_ITEMS = 1 << 16

KEPT_BYTES = 64 << 20

SLAB_BLOCKS = 4
"""What the driver alone can read goes through in slabs of so many blocks."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a task must know to encode a block and bring it to the shards.

    Attributes:
        root: of the cluster.
        layout: of the cluster.
        parts: the parts of the source, by number.
        writers: of the shards, in order.
        most_items: how many are encoded and brought to the shards at a time.
    """

    root: str
    layout: Layout
    parts: tuple[Part, ...]
    writers: tuple[Any, ...]
    most_items: int


def run_pipeline(
    source: OpenedSource, delivery_to: Delivery, run: str, progress: ProgressCallback
) -> AddReport:
    """Bring a source's items to the shards; those that are there stay untouched.

    Args:
        source: the items.
        delivery_to: where they go.
        run: a name that no other run has.
        progress: told of the items stored.

    Returns:
        Counts, and the inputs that were skipped, by name.

    Raises:
        InputError: the source cannot be read, or an item may not take the key that it has.
    """
    tally = _Tally(source.source.length, progress)
    with ray_failures():
        for dataset in _datasets(source, delivery_to.most_items, run):
            stream = dataset.map_batches(
                partial(encode_and_deliver, to=delivery_to, run=run),
                batch_size=delivery_to.most_items,
                batch_format="pyarrow",
                zero_copy_batch=True,
                num_cpus=ENCODING_CPUS,
            )
            for summary in stream.iter_rows():
                tally.add(json.loads(summary["summary"]))
    return tally.report()


class _Tally:
    """Adds up what tasks tell."""

    def __init__(self, total: int, progress: ProgressCallback) -> None:
        self._total, self._progress = total, progress
        self._added = self._updated = self._unchanged = self._seen = 0
        self._skipped = SkippedInputs()
        self._named: set[Skipped] = set()

    def add(self, told_of: dict[str, Any]) -> None:
        if "error" in told_of:
            raise raised(*told_of["error"])
        self._added += told_of["added"]
        self._updated += told_of["updated"]
        self._unchanged += told_of["unchanged"]
        self._seen += told_of["seen"]
        self._skipped.unnamed += told_of["unnamed"]
        for name, reason in told_of["skipped"]:
            one = Skipped(name, reason)
            if one not in self._named:  # what a folder cannot list, each of its ranges tells
                self._named.add(one)
                self._skipped.append(one)
        stored = self._added + self._updated
        note = f"{stored:,} on disk" if stored else ""
        self._progress(Progress("storing", self._seen, self._total, note))

    def report(self) -> AddReport:
        return AddReport(self._added, self._updated, self._unchanged, self._skipped)


def _datasets(source: OpenedSource, most: int, run: str) -> Iterator[Any]:
    """Streams of blocks: one where nodes read the source, slab after slab where they cannot."""
    import ray.data

    _configure(ray.data)
    if source.travels:
        ranges = [
            piece
            for part, own in zip(source.parts, source.source.parts, strict=True)
            for piece in part.ranges(own)
        ]
        reads = [partial(_read, part, run, most) for part in ranges]
        yield ray.data.read_datasource(
            _datasource(reads), num_cpus=READING_CPUS, override_num_blocks=len(reads)
        )
        return
    blocks = _driver_blocks(source, most)
    while slab := list(islice(blocks, SLAB_BLOCKS)):
        yield ray.data.from_arrow(slab)


def _configure(data: Any) -> None:
    context = data.DataContext.get_current()
    context.target_max_block_size = BLOCK_BYTES
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def _datasource(reads: Sequence[Callable[[], Iterable[pa.Table]]]) -> Any:
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)

    class Parts(Datasource):
        """Each part, or range of one, is read by one task."""

        def get_read_tasks(self, *_: Any, **__: Any) -> list[Any]:
            return [ReadTask(read, unknown) for read in reads]

        def estimate_inmemory_data_size(self) -> int | None:
            return None

    return Parts()


def _read(part: Part, run: str, most_items: int) -> Iterator[pa.Table]:
    """Read a part on a node, block by block.

    An error comes as a block too: Ray Data shows where it was raised, whoever catches it.
    """
    try:
        yield from blocks_of(read_part(part, run), part.number, most_items)
        skipped = skipped_in(part, run)
    except HashretError as error:
        yield error_block(*kind_and_message(error), part.number)
        return
    if skipped:
        yield skipped_block(skipped, part.number)


def _driver_blocks(source: OpenedSource, most_items: int) -> Iterator[pa.Table]:
    for number, part in enumerate(source.source.parts):
        yield from blocks_of(part, number, most_items)
        if part.skipped:
            yield skipped_block(part.skipped, number)


def encode_and_deliver(block: pa.Table, to: Delivery, run: str) -> pa.Table:
    """Encode what is new in a block, bring it to its shards, and tell how much it was."""
    try:
        if stopped := error_in(block):
            raise raised(*stopped)
        items, skipped = split_skipped(block)
        summary = {"seen": len(items), "added": 0, "updated": 0, "unchanged": 0}
        for number in items["part"].unique().to_pylist():
            own = items.filter(pa.compute.equal(items["part"], number))
            part = to.parts[number]
            for name, count in _deliver(own, part, to, run, skipped).items():
                summary[name] += count
        summary["seen"] += 0 if len(items) else skipped.total
        named = [[one.name, one.reason] for one in skipped]
        line = json.dumps({**summary, "skipped": named, "unnamed": skipped.unnamed})
    except HashretError as error:
        line = json.dumps({"error": kind_and_message(error)})
    return pa.table({"summary": [line]})


def _deliver(
    block: pa.Table, part: Part, to: Delivery, run: str, skipped: SkippedInputs
) -> dict[str, int]:
    """Bring the items of one part to their shards; returns what became of them."""
    from hashret.cluster.failures import asked

    shards: dict[int, list[int]] = {}
    for place, key in enumerate(block["key"].to_pylist()):
        shards.setdefault(to.layout.shard_of(key), []).append(place)
    compared = asked(
        [
            to.writers[shard].compare.remote(part.origin, part.root, delivery(block, places))
            for shard, places in shards.items()
        ]
    )
    new = {
        shard: [places[n] for n in one.new]
        for (shard, places), one in zip(shards.items(), compared, strict=True)
    }
    encoded = _encoded(block, sorted(place for places in new.values() for place in places), to)
    for place, reason in encoded.failed.items():
        key, position = block["key"][place].as_py(), block["position"][place].as_py()
        skipped.append(Skipped(part.name_of(key, position), reason))
    deliveries = []
    for (shard, places), one in zip(shards.items(), compared, strict=True):
        made = [place for place in new[shard] if place in encoded.codes]
        changed = sorted(made + [places[n] for n in one.beside])
        if changed:
            deliveries.append((shard, made, changed, field_names(block, changed)))
    agree_on(sorted({name for *_, names in deliveries for name in names}), to.writers[0], run)
    stored = asked(
        [
            to.writers[shard].store.remote(
                part.origin,
                delivery(block, changed, encoded.codes),
                encoded.vectors_of(made),
                names,
            )
            for shard, made, changed, names in deliveries
        ]
    )
    added, updated = sum(one.added for one in stored), sum(one.updated for one in stored)
    unchanged = len(block) - added - updated - len(encoded.failed)
    return {"added": added, "updated": updated, "unchanged": unchanged}


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Codes by place, why the others have none, and rows in the order of ``rows`` where kept."""

    codes: dict[int, bytes]
    failed: dict[int, str]
    matrix: NDArray[np.float32] | None

    def vectors_of(self, places: list[int]) -> NDArray[np.float32] | None:
        if self.matrix is None or not places:
            return None
        numbers = {place: number for number, place in enumerate(self.codes)}
        return self.matrix[[numbers[place] for place in places]]


def _encoded(block: pa.Table, places: list[int], to: Delivery) -> _Encoded:
    if not places:
        return _Encoded({}, {}, None)
    encoder, keeps_vectors = learned_encoder(to.root, to.layout.encoder)
    codes: dict[int, bytes] = {}
    failed: dict[int, str] = {}
    kept: list[NDArray[np.float32]] = []
    for start in range(0, len(places), CHUNK_ITEMS):
        some = places[start : start + CHUNK_ITEMS]
        matrix, failures = encoder.features.matrix(
            values_of(block.take(pa.array(some, type=pa.int64())))
        )
        failed |= {some[failure.position]: failure.reason for failure in failures}
        made = encoder.runtime.encode(matrix)
        joined, width = made.tobytes(), made.shape[1]
        split = (joined[at : at + width] for at in range(0, len(joined), width))
        codes |= zip((place for place in some if place not in failed), split, strict=True)
        if keeps_vectors:
            kept.append(matrix)
    return _Encoded(codes, failed, np.concatenate(kept) if kept else None)


def items_at_a_time(shards: int, encoder: TrainedEncoder, *, keeps_vectors: bool) -> int:
    """How many items are brought to the shards at a time.

    For each shard enough that a transaction is worth its while; where features are kept, no more
    than fit into ``KEPT_BYTES``.
    """
    most = min(MOST_ITEMS, CHUNK_ITEMS * shards)
    if not keeps_vectors:
        return most
    return min(most, max(CHUNK_ITEMS, KEPT_BYTES // (4 * encoder.features.n_features)))


@lru_cache(maxsize=2)
def learned_encoder(root: str, fingerprint: str) -> tuple[TrainedEncoder, bool]:  # noqa: ARG001, of the cache
    """The encoder of a cluster, loaded once by each process, and whether features are kept."""
    folder = storage_at(root).learned()
    store = ItemStore.open(folder / "items.db")
    try:
        with store.reading(checked=False):
            keeps_vectors = store.vector_length is not None
        return TrainedEncoder.of_index(folder, store), keeps_vectors
    finally:
        store.close()
