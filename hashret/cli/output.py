"""Results on stdout: a table, JSON, one JSON a line, CSV, TSV, or paths."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from hashret.cli.messages import on_one_line

_Command = TypeVar("_Command", bound=Callable[..., Any])

_FORMATS = {
    "json": "A JSON array of objects.",
    "nl": "One JSON object a line.",
    "csv": "Comma-separated values.",
    "tsv": "Tab-separated values.",
}

_ACTING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What JSON need not escape, and a terminal may obey or show in another order."""


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

    def write(
        self,
        rows: Iterable[Mapping[str, Any]],
        columns: Sequence[str],
        fields: Sequence[str] = (),
    ) -> None:
        """Write rows; ``columns`` are those of a table, CSV or TSV, in their order.

        In these, the ``fields`` that items of the index have follow as columns.
        """
        with ended_in_peace():
            self._write(rows, columns, fields)

    def _write(
        self, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], fields: Sequence[str]
    ) -> None:
        out = sys.stdout
        # Programs get every name as it is; on a terminal, some would be taken for commands to it.
        shown = on_one_line if out.isatty() else str
        if self.format == "json":
            out.write(_json_of(list(rows), indent=2) + "\n")
        elif self.format == "nl":
            for row in rows:
                out.write(_json_of(row) + "\n")
        elif self.format in ("paths", "null"):
            end = b"\n" if self.format == "paths" else b"\0"
            for row in rows:
                name = shown(row.get("location") or row["key"])
                out.buffer.write(os.fsencode(name) + end)
        else:
            flat = (_flat(row, columns) for row in rows)
            titles = [*columns, *(_field_title(name, columns) for name in fields)]
            if self.format == "table":
                cells = [[_cell(row.get(title)) for title in titles] for row in flat]
                _write_table([*map(on_one_line, titles)], cells, headers=self.headers)
                return
            delimiter = "\t" if self.format == "tsv" else ","
            writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
            if self.headers:
                writer.writerow(titles)
            writer.writerows(
                [_text_of(shown(_plain(row.get(title)))) for title in titles] for row in flat
            )


@contextmanager
def ended_in_peace() -> Iterator[None]:
    """Write to stdout; a reader that has seen enough, ``head`` for one, ends the block."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try once more at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flat(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """The columns of a row, and its fields; a field named like a column is ``fields.<name>``."""
    flat = {name: row.get(name) for name in columns}
    for name, value in row.get("fields", {}).items():
        flat[_field_title(name, columns)] = value
    return flat


def _field_title(name: str, columns: Sequence[str]) -> str:
    return f"fields.{name}" if name in columns else name


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    return str(value)


def _cell(value: Any) -> str:
    """For a table: numbers short, and nothing that draws on the terminal."""
    if isinstance(value, float):
        return f"{value:.7g}"
    return on_one_line(_plain(value))


def _text_of(text: str) -> str:
    """Text that can be written as UTF-8, bytes of a file's name that are none shown as such."""
    return text.encode("utf-8", "backslashreplace").decode()


def _json_of(value: Any, indent: int | None = None) -> str:
    """JSON in which what acts on a terminal is escaped; it means the same."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _text_of(_ACTING.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def _write_table(names: Sequence[str], cells: Sequence[Sequence[str]], *, headers: bool) -> None:
    lines = [list(names)] if headers else []
    lines += [list(row) for row in cells]
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
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


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
            both = {output.format, name}
            if both != {"paths", "null"} and output.format not in ("table", name):
                raise click.UsageError(f"Choose one of --{output.format} and --{name}, not both.")
            output.format = "null" if "null" in both else name

    return callback


def _without_headers(context: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        Output.of(context).headers = False
