"""``hashret export``: items and codes for other programs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import index_option, open_index, where_option
from hashret.cli.output import ended_in_peace
from hashret.cli.progress_display import ProgressDisplay
from hashret.errors import UsageError

_HELP = """Write items and their codes into a file for other programs.

\b
FILE.jsonl, .ndjson   a JSON object a line: row, key, code, encoder, location, fields
FILE.jsonl.gz         the same, compressed
FILE.parquet          columns row, key, code, location, and one for each field
FILE.faiss            a FAISS IndexBinaryIDMap2 of the codes, whose ids are the rows

The file holds one committed state of the index. It is there whole when the command is done, or
not at all.
"""


@click.command(help=_HELP)
@index_option
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write, of the kind that its name ends in; - for JSON lines on stdout.",
)
@where_option
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
def export(index_name: str | None, file: Path, where: str | None, overwrite: bool) -> None:
    """Write items and their codes into a file for other programs."""
    warnings_to_stderr()
    if str(file) == "-" and overwrite:
        raise UsageError("--overwrite is for a file, and - is none.")
    with open_index(index_name) as index, ProgressDisplay() as progress:
        if str(file) == "-":
            from hashret.index.export import export_lines

            with ended_in_peace():
                export_lines(index.path, sys.stdout.buffer, where, progress)
            return
        count = index.export(file, where, overwrite=overwrite, progress=progress)
    say(f"Wrote {count:,} items to {file}")
