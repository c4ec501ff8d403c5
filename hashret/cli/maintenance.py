"""``hashret verify`` and ``compact``: the health of an index."""

from __future__ import annotations

import click

from hashret.cli.options import index_option, open_index
from hashret.cli.output import Output, output_options
from hashret.cli.progress import ProgressDisplay, warnings_to_stderr


@click.command()
@index_option
@output_options()
@click.pass_context
def verify(context: click.Context, index_name: str | None) -> None:
    """Check every item, segment and encoder file; exit with 1 at any damage."""
    warnings_to_stderr()
    output = Output.of(context)
    with open_index(index_name) as index:
        report = index.verify()
    if report.problems or output.format != "table":
        output.write([{"problem": problem} for problem in report.problems], ["problem"])
    segments = f"{report.segments:,} segment{'s' * (report.segments != 1)}"
    counts = f"{report.items:,} items and {segments} checked"
    if report.ok:
        click.echo(f"{counts}: all is well", err=True)
    else:
        click.echo(f"{counts}: {len(report.problems):,} problems", err=True)
        context.exit(1)


@click.command()
@index_option
def compact(index_name: str | None) -> None:
    """Rebuild the search tables from the stored items, without what was removed."""
    warnings_to_stderr()
    with open_index(index_name) as index, ProgressDisplay() as progress:
        index.compact(progress)
