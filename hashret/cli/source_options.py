"""The options that say how a SOURCE is read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import click

from hashret.errors import UsageError

FORMATS = ("csv", "tsv", "json", "jsonl", "lines", "parquet", "sqlite")

_OPTIONS = (
    click.option(
        "--column",
        metavar="NAME",
        help="Column of a table, or data set of an HDF5 or .npz file, that holds the values.  "
        "[default: the one taken before, or by its name and contents]",
    ),
    click.option(
        "--id-column",
        metavar="NAME",
        help="Column of a table that holds the keys; '' takes the numbers of the rows.  [default: "
        "the column taken before, or id, key, ..., or row numbers]",
    ),
    click.option("--sql", metavar="QUERY", help="Rows to take from an SQLite file, as a table."),
    click.option(
        "--format",
        type=click.Choice(FORMATS),
        help="What a table is, whatever its name; needed for -, standard input.",
    ),
    click.option("--encoding", metavar="NAME", help="Of text, such as latin-1.  [default: utf-8]"),
    click.option(
        "--key-prefix",
        default="",
        metavar="TEXT",
        help="Put before the keys of array files and tables; {stem} stands for the file's name.",
    ),
)
_NAMES = ("column", "id_column", "sql", "format", "encoding", "key_prefix")


def refuse_options(opening: Mapping[str, str], instead: str) -> None:
    """Refuse options that say how a source is read where there is none.

    Args:
        opening: as :func:`source_options` gives it.
        instead: what to do, as the end of a sentence.

    Raises:
        UsageError: one was given.
    """
    if opening:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in opening)
        tells = "tell" if len(opening) > 1 else "tells"
        raise UsageError(f"{flags} {tells} how a source is read: {instead}.")


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, which reach it as one argument, ``opening``.

    It is a mapping of the keyword arguments of :func:`hashret.sources.open_source`, without those
    that were not given.
    """

    @functools.wraps(command)
    def collecting(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in _NAMES}
        opening = {
            name: value
            for name, value in given.items()
            if value or (value == "" and name == "id_column")
        }
        return command(*arguments, opening=opening, **options)

    for option in reversed(_OPTIONS):
        collecting = option(collecting)
    return collecting
