"""``hashret query``: the items nearest to a file, a key or a code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashret.cli.options import Limit, index_option, open_index, stdin_lines, where_option
from hashret.cli.output import Output, output_options
from hashret.cli.progress import warnings_to_stderr
from hashret.errors import UsageError

if TYPE_CHECKING:
    from hashret.index import Index
    from hashret.result import Result

_BATCH = 256


@click.command()
@click.argument("value", required=False)
@index_option
@click.option("--key", help="Search with the code of the item that has this key.")
@click.option("--code", metavar="HEX", help="Search with a code in hexadecimal.")
@click.option(
    "-r",
    "--radius",
    type=click.IntRange(min=0),
    help="Only hits that differ in at most so many bits. Without it, rings grow up to the limit.",
)
@click.option(
    "-k", "--limit", type=Limit(), default=10, show_default=True, help="Most hits, or 'all'."
)
@where_option
@click.option(
    "--explain",
    is_flag=True,
    help="Tell the plan, probes, candidates and time on stderr, and which bits differ.",
)
@output_options(paths=True)
@click.pass_context
def query(
    context: click.Context,
    value: str | None,
    index_name: str | None,
    key: str | None,
    code: str | None,
    radius: int | None,
    limit: int | None,
    where: str | None,
    explain: bool,
) -> None:
    """Find the items nearest to VALUE: exact matches, then one bit away, two, ...

    VALUE is an image, an array file, or one row of an array file (vectors.npy#17). "-" reads
    paths or keys from stdin, one a line.
    """
    if sum(given is not None for given in (value, key, code)) != 1:
        raise UsageError("Give one of VALUE, --key and --code.")
    if limit is None and radius is None:
        raise UsageError("-k all needs a radius (-r); `hashret items` lists all items.")
    output = Output.of(context)
    warnings_to_stderr()
    with open_index(index_name) as index:
        if value == "-":
            names: list[str] | None = stdin_lines()
            results = _several(index, names or [], radius, limit, where)
        else:
            names = None
            if key is not None:
                one = index.query_key(key, radius, limit, where)
            elif code is not None:
                one = index.query_code(code, radius, limit, where)
            else:
                one = index.query(value, radius, limit, where)
            results = iter([one])
        rows: list[dict[str, Any]] = []
        for number, result in enumerate(results):
            name = None if names is None else names[number]
            _tell(result, name, explain=explain)
            rows.extend(_rows(result, name, explain=explain))
    columns = ["rank", "distance", "similarity", "key"]
    columns = ["query", *columns] if value == "-" else columns
    output.write(rows, [*columns, "flipped"] if explain else columns)


def _several(
    index: Index, names: list[str], radius: int | None, limit: int | None, where: str | None
) -> Iterator[Result]:
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        files = [name for name in batch if name not in index and Path(name.split("#")[0]).exists()]
        found = dict(zip(files, index.query_many(files, radius, limit, where), strict=True))
        for name in batch:
            yield found[name] if name in found else index.query_key(name, radius, limit, where)


def _rows(result: Result, name: str | None, *, explain: bool) -> Iterator[dict[str, Any]]:
    for hit in result:
        row = hit.to_dict()
        if name is not None:
            row = {"query": name, **row}
        if explain:
            row["flipped"] = result.explain(hit)
        yield row


def _tell(result: Result, name: str | None, *, explain: bool) -> None:
    about = "" if name is None else f"{name}: "
    if explain:
        stats = result.stats
        rings = ", ".join(f"{distance}: {len(hits)}" for distance, hits in result.rings.items())
        click.echo(
            f"{about}{stats.plan}; {stats.probes:,} probes, {stats.candidates:,} candidates, "
            f"{stats.seconds * 1e3:.3f} ms (estimated {stats.estimated_seconds * 1e3:.3f} ms); "
            f"hits by distance: {rings or 'none'}",
            err=True,
        )
    if not result:
        click.echo(f"{about}no hits.", err=True)
    elif result.radius is not None and len(result) == result.limit:
        click.echo(
            f"{about}the first {result.limit} hits; -k all shows every one within the radius.",
            err=True,
        )
