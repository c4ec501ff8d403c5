"""``hashret cluster``: many shards on Ray, written to and asked as one."""

from __future__ import annotations

import click

from hashret.cli import cluster_index


@click.group()
def cluster() -> None:
    """Spread items over many shards, on one machine or many, with Ray.

    A cluster is a folder that all its machines see, or a URL as fsspec understands it; -i takes
    its name under ./indexes, its path, or its URL. Each shard is an index as any other.
    """


for command in (cluster_index.index, cluster_index.remove, cluster_index.reshard):
    cluster.add_command(command)
