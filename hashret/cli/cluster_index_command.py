"""``hashret cluster index``, ``remove`` and ``reshard``: what is in a cluster, and how it lies."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from hashret.cli.learning_options import CommandThatLearns, LearningOptions, learning_options
from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import KINDS, index_path, stdin_lines
from hashret.cli.progress_display import ProgressDisplay
from hashret.cli.source_options import source_options
from hashret.cli.telling import SKIPPED_EXIT_CODE, tell_report
from hashret.errors import UsageError

if TYPE_CHECKING:
    from hashret.cluster.storage import ClusterStorage

cluster_option = click.option(
    "-i",
    "--index",
    "name",
    metavar="NAME",
    help="Cluster: a name under ./indexes, a path, or a URL.",
)
address_option = click.option(
    "--address",
    metavar="HOST:PORT",
    help="Of Ray, or auto for the one of this machine.  [default: $RAY_ADDRESS, or start one for "
    "this command]",
)


def storage_named(name: str | None) -> ClusterStorage:
    """Where the cluster lies that ``-i`` names.

    Raises:
        UsageError: it names none.
    """
    from hashret.cluster.published import storage_at

    if name is None:
        raise UsageError("Name the cluster with -i.")
    if "://" in name:
        return storage_at(name)
    return storage_at(index_path(name, must_exist=False))


def shown_place(name: str | None) -> object:
    """Where the cluster lies that ``-i`` names, as it may be given again."""
    return name if name is None or "://" in name else index_path(name, must_exist=False)


@click.command(cls=CommandThatLearns)
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@cluster_option
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    help="How many indexes a new cluster is spread over.",
)
@address_option
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="auto",
    show_default=True,
    help="What the source holds.",
)
@source_options
@click.option(
    "--metric",
    type=click.Choice(("l2", "cosine")),
    help="What near means for vectors: their distance, or their angle.  [default: l2]",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Let items take keys that belong to different items of another file.",
)
@click.option(
    "--keep-vectors",
    is_flag=True,
    help="Keep each item's features too, two bytes a value.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 when an input was skipped.")
@learning_options
@click.pass_context
def index(
    context: click.Context,
    sources: tuple[str, ...],
    name: str | None,
    shards: int | None,
    address: str | None,
    kind: str,
    opening: dict[str, Any],
    metric: str | None,
    replace: bool,
    keep_vectors: bool,
    strict: bool,
    learning: LearningOptions,
) -> None:
    """Learn codes from SOURCE and spread its items over shards, or add to a cluster.

    SOURCE is what `hashret index` takes; the nodes read it, so they all must see it under the same
    path. A new cluster first learns its codes, once, from a sample. What was stopped, by whatever
    it may be, goes on when it is started again: nothing is stored twice, and nothing that is
    stored is encoded again. Items that SOURCE no longer holds stay: `hashret cluster remove`
    removes items by their keys.
    """
    from hashret.cluster import making
    from hashret.cluster.cluster_changes import add_to_cluster
    from hashret.cluster.joining import check_may_join
    from hashret.index.creating import checked_copy

    if not sources:
        raise UsageError("Name a SOURCE to index.")
    warnings_to_stderr()
    started = time.perf_counter()
    check_may_join(address)
    storage = storage_named(name)
    layout = making.layout_of(storage, shards)
    if layout is not None:
        _check_learned(storage, learning, keep_vectors, metric)
    elif shards is None:
        raise UsageError("Say with --shards how many indexes the new cluster is spread over.")
    else:
        hasher = checked_copy(learning.hasher())
        how = making.Learning(hasher, keep_vectors, metric or "l2", learning.features)
        make = partial(making.make_cluster, shards=shards, learning=how)
    source = making.open_source_for(
        storage, layout, sources, kind, replace=replace, only_paths=True, **opening
    )
    say(f"Source: {source.source.description}.")
    with ProgressDisplay() as progress:
        if layout is None:
            layout = make(storage, source, progress=progress)
        report, total = add_to_cluster(storage, layout, source, address=address, progress=progress)
    tell_report(report, total, shown_place(name), time.perf_counter() - started)
    if strict and report.skipped:
        context.exit(SKIPPED_EXIT_CODE)


def _check_learned(
    storage: ClusterStorage,
    learning: LearningOptions,
    keep_vectors: bool,
    metric: str | None,
) -> None:
    """Refuse, or tell of, what cannot be chosen any more."""
    from hashret.cli.index_command import check_learned
    from hashret.index.index import Index

    with Index.open(storage.learned()) as learned:
        check_learned(learned, storage.root, learning, keep_vectors, metric)


@click.command()
@click.argument("keys", nargs=-1, metavar="KEY...")
@cluster_option
@address_option
def remove(keys: tuple[str, ...], name: str | None, address: str | None) -> None:
    """Remove items by their keys; "-" reads keys from stdin, one a line.

    None is removed where one of them does not exist.
    """
    from hashret.cluster.cluster_changes import remove_from_cluster

    if keys == ("-",):
        keys = tuple(stdin_lines())
    elif not keys:
        raise UsageError("Name the keys of the items to remove, or - to read them from stdin.")
    warnings_to_stderr()
    removed, left = remove_from_cluster(storage_named(name), keys, address=address)
    say(f"{removed:,} removed: {left:,} items left")


@click.command()
@cluster_option
@click.option(
    "--shards", type=click.IntRange(min=1), required=True, help="How many there shall be."
)
def reshard(name: str | None, shards: int) -> None:
    """Spread the items of a cluster over another number of shards.

    Nothing is encoded again. The old shards answer until the new ones are whole; it takes the
    room of both. Nobody may write to the cluster meanwhile.
    """
    from hashret.cluster.resharding import reshard as resharded

    warnings_to_stderr()
    storage = storage_named(name)
    with ProgressDisplay() as progress:
        resharded(storage, shards, progress)
    say(f"{shards:,} shard{'s' * (shards != 1)} in {shown_place(name)}")
