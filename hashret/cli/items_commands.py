"""``hashret info``, ``items`` and ``remove``: what an index holds."""

from __future__ import annotations

from typing import Any

import click

from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import Limit, index_option, open_index, stdin_lines, where_option
from hashret.cli.output import Output, output_options
from hashret.errors import UsageError


@click.command()
@index_option
@output_options()
@click.pass_context
def info(context: click.Context, index_name: str | None) -> None:
    """Tell what an index is and holds."""
    warnings_to_stderr()
    output = Output.of(context)
    with open_index(index_name) as index:
        facts = index.info()
    if output.format in ("json", "nl"):
        output.write([facts], [])
        return
    rows = []
    for name, value in facts.items():
        if isinstance(value, dict):
            rows += [{"name": f"{name}.{key}", "value": part} for key, part in value.items()]
        else:
            rows.append({"name": name, "value": value})
    output.write(rows, ["name", "value"])


@click.command()
@index_option
@click.option("-k", "--limit", type=Limit(), default="all", show_default=True, help="Most items.")
@where_option
@output_options(paths=True)
@click.pass_context
def items(
    context: click.Context, index_name: str | None, limit: int | None, where: str | None
) -> None:
    """List items in the order they were added."""
    from hashret.codes import to_hex

    with open_index(index_name) as index:
        found, fields = index.items(limit, where), index.field_names
    rows: list[dict[str, Any]] = [
        {
            "key": item.key,
            "code": to_hex(item.code),
            "location": item.location,
            "fields": item.fields,
        }
        for item in found
    ]
    Output.of(context).write(rows, ["key", "code"], fields)


@click.command()
@click.argument("keys", nargs=-1, metavar="KEY...")
@index_option
def remove(keys: tuple[str, ...], index_name: str | None) -> None:
    """Remove items by their keys, all or none; "-" reads keys from stdin, one a line."""
    if keys == ("-",):
        keys = tuple(stdin_lines())
    elif not keys:
        raise UsageError("Name the keys of the items to remove, or - to read them from stdin.")
    warnings_to_stderr()
    with open_index(index_name) as index:
        removed = index.remove(keys)
        say(f"{removed:,} removed: {len(index):,} items left")
