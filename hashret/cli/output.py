"""Results on stdout: a table, JSON, one JSON a line, CSV, TSV, or paths."""

from __future__ import annotations

import csv
import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

_FORMATS = {
    "json": "A JSON array of objects.",
    "nl": "One JSON object a line.",
    "csv": "Comma-separated values.",
    "tsv": "Tab-separated values.",
}


def output_options(*, paths: bool = False) -> Callable[[_Command], _Command]:
    """The options that choose a format; they arrive as ``output``, a :class:`Output`."""

    def decorate(command: _Command) -> _Command:
        if paths:
            command = click.option(
                "-0",
                "null",
                is_flag=True,
                expose_value=False,
                callback=_choose("null"),
                help="Like --paths, each ended by a null character, for xargs -0.",
            )(command)
            command = click.option(
                "--paths",
                is_flag=True,
                expose_value=False,
                callback=_choose("paths"),
                help="Only where each item lies (its key, if it came from Python).",
            )(command)
        command = click.option(
            "--no-headers",
            is_flag=True,
            expose_value=False,
            callback=_without_headers,
            help="Leave out the heading of a table, CSV or TSV.",
        )(command)
        for name, text in reversed(_FORMATS.items()):
            command = click.option(
                f"--{name}", is_flag=True, expose_value=False, callback=_choose(name), help=text
            )(command)
        return command

    return decorate


class Output:
    """How rows are written; each row is a mapping of JSON values by column."""

    def __init__(self) -> None:
        """A table with headings, until an option says otherwise."""
        self.format = "table"
        self.headers = True

    @classmethod
    def of(cls, context: click.Context) -> Output:
        """What the options of this command chose."""
        found = context.meta.setdefault("hashret.output", cls())
        if not isinstance(found, cls):
            raise TypeError("hashret.output holds something else")
        return found

    def write(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Write rows; ``columns`` are those of a table, CSV or TSV, in their order.

        In these, the ``fields`` of an item become columns of their own.
        """
        if self.format == "json":
            click.echo(json.dumps(list(rows), indent=2, ensure_ascii=False))
        elif self.format == "nl":
            for row in rows:
                click.echo(json.dumps(row, ensure_ascii=False))
        elif self.format in ("paths", "null"):
            end = "\n" if self.format == "paths" else "\0"
            for row in rows:
                click.echo(f"{row.get('location') or row['key']}{end}", nl=False)
        else:
            flat = [_flat(row) for row in rows]
            names = [*columns, *_extra_columns(flat, columns)]
            cells = [[_text(row.get(name)) for name in names] for row in flat]
            if self.format == "table":
                _write_table(names, cells, headers=self.headers)
            else:
                writer = csv.writer(
                    sys.stdout,
                    delimiter="\t" if self.format == "tsv" else ",",
                    lineterminator="\n",
                )
                if self.headers:
                    writer.writerow(names)
                writer.writerows(cells)


_FIELD = "fields."


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in row.items() if name != "fields"}
    flat.update((_FIELD + name, value) for name, value in row.get("fields", {}).items())
    # A field is shown under its own name, unless the item has a column of that name.
    return {
        short
        if name.startswith(_FIELD) and (short := name.removeprefix(_FIELD)) not in row
        else name: value
        for name, value in flat.items()
    }


def _extra_columns(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    known = {*columns, "rank", "key", "distance", "similarity", "code", "location", "row", "query"}
    return sorted({name for row in rows for name in row if name not in known})


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return str(value)


def _write_table(names: Sequence[str], cells: Sequence[Sequence[str]], *, headers: bool) -> None:
    lines = [list(names)] if headers else []
    lines += [[_printable(cell) for cell in row] for row in cells]
    if not lines:
        return
    widths = [max(_width(line[column]) for line in lines) for column in range(len(names))]
    numeric = [
        bool(cells) and all(_is_number(row[column]) for row in cells)
        for column in range(len(names))
    ]
    for line in lines:
        padded = [
            " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def _printable(text: str) -> str:
    # A line break or an escape sequence in a file's name must not draw on the terminal.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text
    return True


def _choose(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(context: click.Context, _: click.Parameter, given: bool) -> None:
        output = Output.of(context)
        if given:
            if output.format not in ("table", name):
                raise click.UsageError(f"Choose one of --{output.format} and --{name}, not both.")
            output.format = name

    return callback


def _without_headers(context: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        Output.of(context).headers = False
