"""``hashret verify`` and ``compact``: the health of an index."""

from __future__ import annotations

import click

from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import index_option, index_path, open_index
from hashret.cli.output import Output, output_options
from hashret.cli.progress_display import ProgressDisplay


@click.command()
@index_option
@click.option(
    "--repair",
    is_flag=True,
    help="Rebuild what is derived, and keep every item that is whole; say what is lost.",
)
@output_options()
@click.pass_context
def verify(context: click.Context, index_name: str | None, repair: bool) -> None:
    """Check every item, segment and encoder file; exit with 1 at any damage.

    --repair mends what it can, and then exits with 1 if anything is lost. A damaged database is
    kept in a folder beside the new one.
    """
    warnings_to_stderr()
    output = Output.of(context)
    if repair:
        _repair(context, output, index_name)
        return
    with open_index(index_name) as index:
        report = index.verify()
    if report.problems or output.format != "table":
        output.write([{"problem": problem} for problem in report.problems], ["problem"])
    segments = f"{report.segments:,} segment{'s' * (report.segments != 1)}"
    counts = f"{report.items:,} items and {segments} checked"
    if report.ok:
        say(f"{counts}: all is well")
    else:
        say(f"{counts}: {len(report.problems):,} problem{'s' * (len(report.problems) != 1)}")
        context.exit(1)


def _repair(context: click.Context, output: Output, index_name: str | None) -> None:
    from hashret.index.index import Index

    with ProgressDisplay() as progress:
        report = Index.repair(index_path(index_name), progress)
    lines = [("repaired", line) for line in report.repaired]
    lines += [("lost", line) for line in report.lost]
    if lines or output.format != "table":
        output.write([{"what": what, "detail": line} for what, line in lines], ["what", "detail"])
    if not lines:
        say(f"{report.items:,} items: nothing to repair")
    else:
        lost = "nothing is lost" if report.ok else "what is lost is named above"
        say(f"{report.items:,} items: {len(report.repaired):,} repaired; {lost}")
    if report.lost:
        context.exit(1)


@click.command()
@index_option
def compact(index_name: str | None) -> None:
    """Rebuild the search tables from the stored items, without what was removed."""
    warnings_to_stderr()
    with open_index(index_name) as index, ProgressDisplay() as progress:
        index.compact(progress)
