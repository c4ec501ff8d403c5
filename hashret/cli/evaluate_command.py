"""``hashret evaluate``: how well an index answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import fetch_option, index_option, only_html, open_index
from hashret.cli.output import Output, output_options
from hashret.cli.progress_display import ProgressDisplay
from hashret.cli.source_options import refuse_options, source_options

label_option = click.option(
    "--label",
    metavar="FIELD",
    help='Field that holds the labels.  [default: "label", where there is one]',
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**32 - 1),
    default=0,
    show_default=True,
    help="Random seed.",
)


@click.command()
@index_option
@click.option(
    "--queries",
    metavar="SOURCE",
    help="Ask the items of this source instead of the index's own.",
)
@source_options
@label_option
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most queries.  [default: 1000 of its own items, 10000 of a source]",
)
@seed_option
@click.option(
    "--html",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=only_html,
    help="Also write a report with plots, one file, and each plot's numbers beside it as CSV.",
)
@fetch_option
@output_options()
@click.pass_context
def evaluate(
    context: click.Context,
    index_name: str | None,
    queries: str | None,
    opening: dict[str, Any],
    label: str | None,
    sample: int | None,
    seed: int,
    file: Path | None,
) -> None:
    """Score an index: retrieval, neighbours kept, reconstruction, bits, cost of a search.

    Its own items are the queries, each leaving itself out, or those of --queries. An item is
    relevant with an equal label; without labels, if it is among the 100 nearest by float distance
    of the features.
    """
    if queries is None:
        refuse_options(opening, "name one with --queries, or leave it out")
    output = Output.of(context)
    warnings_to_stderr()
    with open_index(index_name) as index, ProgressDisplay() as progress:
        from hashret.evaluation import evaluate as score
        from hashret.sources import open_paths

        if file is not None:
            from hashret.evaluation.drawing import check_writable, require_matplotlib

            require_matplotlib()
            check_writable(file)
        source = (
            None
            if queries is None
            else open_paths([queries], kind=index.kind, earlier=index.columns_taken, **opening)
        )
        report = score(index, source, label=label, sample=sample, seed=seed, progress=progress)
        if file is not None:
            from hashret.evaluation.html_report import write_html_report

            written = write_html_report(report, index, file, progress)
            say(f"{file}, and {len(written) - 1} .csv files beside it")
    for note in report.notes:
        say(f"Note: {note}")
    if output.format in ("json", "nl"):
        output.write([report.to_dict()], [])
    else:
        output.write(report.summary(), ["name", "value"])
