"""Make a cluster from a source."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashret.cluster.cluster_changes import add_to_cluster
from hashret.cluster.cluster_layout import LEARNED, MOST_SHARDS, Layout
from hashret.cluster.joining import check_may_join
from hashret.cluster.published import storage_at
from hashret.cluster.storage import ClusterStorage
from hashret.errors import IndexExistsError, IndexNotFoundError, UsageError
from hashret.index.encoding import AddReport
from hashret.index.new_folder import new_folder
from hashret.progress import ProgressCallback, no_progress
from hashret.store import ItemStore

if TYPE_CHECKING:
    from hashret.cluster.parts import OpenedSource
    from hashret.encoder import CodeEstimator

_OF_ONE_STORE = frozenset({"format", "generation", "items", "commit", "identity", "columns_taken"})
"""Settings of a database that a new one does not take over."""


@dataclass(frozen=True, slots=True)
class Learning:
    """How a new cluster learns its codes.

    Attributes:
        hasher: what learns.
        keep_vectors: whether features of items are kept.
        metric: what near means for vectors.
        features: how texts become numbers.
    """

    hasher: CodeEstimator
    keep_vectors: bool = False
    metric: str = "l2"
    features: str = "auto"


def create_cluster(
    path: str | Path,
    source: Any,
    shards: int,
    n_bits: int | None = None,
    *,
    hasher: CodeEstimator | None = None,
    kind: str = "auto",
    epochs: int | None = None,
    random_state: int | None = None,
    key_prefix: str = "",
    column: str | None = None,
    id_column: str | None = None,
    sql: str | None = None,
    encoding: str | None = None,
    format: str | None = None,  # noqa: A002, as for open_source
    keep_vectors: bool = False,
    metric: str | None = None,
    features: str = "auto",
    replace: bool = False,
    address: str | None = None,
    progress: ProgressCallback = no_progress,
) -> AddReport:
    """Make a cluster of so many shards, or add to and update one that is there.

    Its codes are learned once, from a sample; the items then go through Ray to their shards.
    Interrupted, by whatever it may be, the same call goes on where it ended: what is stored is
    neither encoded nor stored again. Behind a URL, what a node stored and did not publish, which is
    done when a run ends, goes with that node.

    Args:
        path: the folder of the cluster, which all nodes see, or its URL.
        source: as for :func:`hashret.create`; paths are read by the nodes, which all see them.
        shards: how many indexes the items are spread over.
        n_bits: as for :func:`hashret.create`, as is all that follows but the last three. What a
            cluster has learned stays: None takes it as it is.
        hasher: what learns.
        kind: of the source.
        epochs: passes over the training data.
        random_state: a seed.
        key_prefix: put before keys.
        column: of values.
        id_column: of keys.
        sql: a query.
        encoding: of texts.
        format: of a table.
        keep_vectors: keep features.
        metric: what near means.
        features: of texts.
        replace: let items take keys that belong to different items of another file.
        address: of a Ray cluster that is there; None starts one on this machine for this call.
        progress: called often.

    Returns:
        Counts, and the inputs that were skipped, by name.

    Raises:
        UsageError: the cluster has another number of shards, or has learned otherwise.
        InputError: the source cannot be read or learned from.
    """
    from hashret.index.index import DEFAULT_BITS, chosen_hasher

    check_may_join(address)
    storage = storage_at(path)
    layout = layout_of(storage, shards)
    if layout is not None:
        bits = n_bits if hasher is None else getattr(hasher, "n_bits", None)
        _check_learned(storage, bits, keep_vectors, metric, features)
    opened = open_source_for(
        storage,
        layout,
        source,
        kind,
        key_prefix,
        replace=replace,
        column=column,
        id_column=id_column,
        sql=sql,
        encoding=encoding,
        format=format,
    )
    if layout is None:
        hasher = chosen_hasher(
            hasher, DEFAULT_BITS if n_bits is None else n_bits, epochs, random_state
        )
        learning = Learning(hasher, keep_vectors, "l2" if metric is None else metric, features)
        layout = make_cluster(storage, opened, shards, learning, progress)
    return add_to_cluster(storage, layout, opened, address=address, progress=progress)[0]


def layout_of(storage: ClusterStorage, shards: int | None) -> Layout | None:
    """What is known of a cluster; None where there is none yet.

    Raises:
        UsageError: it has another number of shards than ``shards``, or that makes no sense.
    """
    if shards is not None and (
        isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= MOST_SHARDS
    ):
        raise UsageError(f"shards must be a number from 1 to {MOST_SHARDS:,}, not {shards!r}.")
    try:
        layout = storage.layout()
    except IndexNotFoundError:
        return None
    if shards not in (None, layout.shards):
        raise UsageError(
            f"The cluster at {storage.root} has {layout.shards} shards, not {shards}: leave out "
            f"--shards to add to it, or change their number with `hashret cluster reshard -i "
            f"{storage.root} --shards {shards}`."
        )
    return layout


def _check_learned(
    storage: ClusterStorage,
    n_bits: int | None,
    keep_vectors: bool,
    metric: str | None,
    features: str,
) -> None:
    """Refuse what contradicts what a cluster has learned.

    Raises:
        UsageError: something does.
    """
    from hashret.index.index import Index

    with Index.open(storage.learned()) as learned:
        own = learned.encoder.features
        own_metric, own_features = getattr(own, "metric", "l2"), getattr(own, "method", None)
        has, given = "", ""
        if n_bits not in (None, learned.n_bits):
            has, given = f"has learned its codes of {learned.n_bits} bits already", f"{n_bits=}"
        elif metric not in (None, own_metric):
            has, given = f"was made with metric={own_metric!r}", f"{metric=}"
        elif features not in ("auto", own_features):
            made = f"with features={own_features!r}" if own_features else f"of {learned.kind}"
            has, given = f"was made {made}", f"{features=}"
        elif keep_vectors and not learned.keeps_vectors:
            has, given = "was made without keep_vectors", f"{keep_vectors=}"
    if has:
        raise UsageError(
            f"The cluster at {storage.root} {has}: leave out {given} to add to it, or choose "
            "another place to learn anew."
        )


def open_source_for(
    storage: ClusterStorage,
    layout: Layout | None,
    source: Any,
    kind: str = "auto",
    key_prefix: str = "",
    **options: Any,
) -> OpenedSource:
    """Open a source as nodes can: see :func:`hashret.cluster.parts.open_parts`.

    Tables that the cluster has met before have the same columns taken.
    """
    from hashret.cluster.parts import open_parts

    earlier: Mapping[str, Mapping[str, str]] = {}
    if layout is not None:
        if kind == "auto":
            kind = layout.kind
        with _store_in(storage.reading(layout.folder(0))) as store:
            earlier = store.setting("columns_taken") or {}
    return open_parts(source, kind, key_prefix, earlier=earlier, **options)


@contextmanager
def _store_in(folder: Path) -> Iterator[ItemStore]:
    store = ItemStore.open(folder / "items.db")
    try:
        with store.reading(checked=False):
            yield store
    finally:
        store.close()


def make_cluster(
    storage: ClusterStorage,
    source: OpenedSource,
    shards: int,
    learning: Learning,
    progress: ProgressCallback,
) -> Layout:
    """Learn codes from a source, and make as many empty shards.

    ``cluster.json`` comes last: a cluster is there whole or not at all.

    Raises:
        IndexExistsError: something else is there.
        InputError: the source cannot be learned from.
    """
    from hashret.index.creating import learn_index

    _clear_unfinished(storage)
    learned = storage.writing(LEARNED)
    try:
        learn_index(
            learned,
            source.source,
            hasher=learning.hasher,
            progress=progress,
            keep_vectors=learning.keep_vectors,
            metric=learning.metric,
            features=learning.features,
        )
    except BaseException:
        storage.note_whole()  # there is nothing yet
        raise
    storage.publish(LEARNED)
    with _store_in(learned) as store:
        settings = store.settings()
    layout = Layout(
        shards,
        1,
        settings["encoder"],
        settings["n_bits"],
        settings["kind"],
        version("hashret"),
        settings["created"],
    )
    for folder in layout.folders():
        make_shard(storage, folder)
    _refuse_made(storage)
    storage.write_layout(layout)
    storage.note_whole()
    return layout


def _clear_unfinished(storage: ClusterStorage) -> None:
    """Remove what a run has left that ended before there was a cluster, and nothing else.

    Raises:
        IndexExistsError: there is something else, or a cluster by now.
    """
    own = (LEARNED, "shards-1") if storage.is_unfinished() else ()
    others = [name for name in storage.entries() if name not in own and name[0] != "."]
    if others:
        _refuse_made(storage)
        if "items.db" in others:
            raise IndexExistsError(
                f"{storage.root} is an index, to which `hashret index` adds. Choose another place "
                "for the cluster."
            )
        raise IndexExistsError(
            f"{storage.root} is not empty and holds no cluster, but {min(others)!r}; choose "
            "another place, so that none of your files are mixed with those of the cluster."
        )
    storage.note_unfinished()
    for name in (LEARNED, "shards-1"):
        _refuse_made(storage)
        storage.remove(name)


def _refuse_made(storage: ClusterStorage) -> None:
    with suppress(IndexNotFoundError):
        storage.layout(certain=True)
        raise IndexExistsError(
            f"There is a cluster at {storage.root} by now, which another run has made. Give the "
            "same command again to add to it."
        )


def make_shard(storage: ClusterStorage, folder: str) -> None:
    """Make an empty shard: the encoder that was learned, and a database of the same settings."""
    learned = storage.learned()
    with _store_in(learned) as store:
        settings = {
            name: value for name, value in store.settings().items() if name not in _OF_ONE_STORE
        }
    with new_folder(storage.writing(folder)) as unfinished:
        shutil.copytree(learned / "encoder", unfinished / "encoder")
        (unfinished / "segments").mkdir()
        ItemStore.create(unfinished / "items.db", settings).close()
    storage.publish(folder)
