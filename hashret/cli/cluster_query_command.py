"""``hashret cluster query`` and ``info``: what a cluster holds."""

from __future__ import annotations

import os
from typing import Any

import click

from hashret.cli.cluster_index_command import address_option, cluster_option, storage_named
from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.output import Output, output_options
from hashret.cli.query_command import asking_options, check_asked, write_answers

replicas_option = click.option(
    "--replicas",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Readers of each shard, on different nodes; one that dies is stood in for by another.",
)


@click.command()
@click.argument("value", required=False)
@cluster_option
@address_option
@replicas_option
@asking_options("key", "certainty")
@click.option(
    "--partial",
    is_flag=True,
    help="Answer without the shards that cannot be reached, and name them.",
)
@output_options(paths=True)
@click.pass_context
def query(
    context: click.Context,
    /,
    name: str | None,
    address: str | None,
    replicas: int,
    partial: bool,
    **asked: Any,
) -> None:
    """Find the items nearest to VALUE in all shards, as `hashret query` does in an index.

    The readers of the shards stay on Ray and are quicker the next time, until `hashret cluster
    stop`; where Ray was started for this command alone, they end with it.
    """
    from hashret.cluster.cluster_index import ClusterIndex

    check_asked(asked)
    warnings_to_stderr()
    with ClusterIndex(storage_named(name), replicas, address) as cluster:
        fields = cluster.fields_of_shards(partial=partial)
        write_answers(context, cluster, asked, fields=fields, partial=partial)


@click.command()
@cluster_option
@address_option
@output_options()
@click.pass_context
def info(context: click.Context, name: str | None, address: str | None) -> None:
    """What a cluster is, and what each shard holds."""
    from hashret.cluster.cluster_index import ClusterIndex

    warnings_to_stderr()
    output = Output.of(context)
    with ClusterIndex(storage_named(name), 1, address) as cluster:
        facts = cluster.info()
    if output.format in ("json", "nl"):
        output.write([facts], [])
        return
    shards = facts.pop("shards")
    rows = [{"name": fact, "value": value} for fact, value in facts.items()]
    rows += [
        {"name": one["name"], "value": f"{one['items']:,} items, {one['bytes']:,} bytes"}
        for one in shards
    ]
    output.write(rows, ["name", "value"])


@click.command()
@cluster_option
@address_option
def stop(name: str | None, address: str | None) -> None:
    """End the readers of a cluster, which stay on Ray otherwise.

    Without --address, on the Ray of this machine.
    """
    from hashret.cluster.connecting import connect
    from hashret.cluster.replicas import stop_readers

    root = storage_named(name).root
    ended = stop_readers(connect(address or os.environ.get("RAY_ADDRESS") or "auto"), root)
    say(f"{ended:,} reader{'s' * (ended != 1)} ended")
