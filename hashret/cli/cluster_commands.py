"""``hashret cluster``: many shards on Ray, written to and asked as one."""

from __future__ import annotations

import click

from hashret.cli import cluster_index_command, cluster_query_command
from hashret.cli.groups import HelpfulGroup


@click.group(cls=HelpfulGroup)
def cluster() -> None:
    """Spread items over many shards, on one machine or many, with Ray.

    A cluster is a folder that all its machines see, or a URL as fsspec understands it; -i takes
    its name under ./indexes, its path, or its URL. Each shard is an index as any other.
    """


for command in (
    cluster_index_command.index,
    cluster_query_command.query,
    cluster_query_command.info,
    cluster_index_command.remove,
    cluster_index_command.reshard,
    cluster_query_command.stop,
):
    cluster.add_command(command)
