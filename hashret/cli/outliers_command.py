"""``hashret outliers``: what is unlike the data an index was learned from."""

from __future__ import annotations

from typing import Any

import click

from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import Limit, fetch_option, index_option, open_index
from hashret.cli.output import Output, output_options
from hashret.cli.progress_display import ProgressDisplay
from hashret.cli.source_options import refuse_options, source_options
from hashret.cli.telling import SKIPPED_EXIT_CODE, tell_skipped


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@index_option
@click.option(
    "-k", "--limit", type=Limit(), default=20, show_default=True, help="Most items, or 'all'."
)
@source_options
@click.option("--strict", is_flag=True, help="Exit with 3 when an input was skipped.")
@fetch_option
@output_options(paths=True)
@click.pass_context
def outliers(
    context: click.Context,
    sources: tuple[str, ...],
    index_name: str | None,
    limit: int | None,
    opening: dict[str, Any],
    strict: bool,
) -> None:
    """List the items that the learned codes describe worst, the worst first.

    The error is the mean squared difference between an item and its reconstruction from its bits,
    in features scaled as the network sees them: intensities from 0 to 1, other data to a variance
    of 1. It is large for what is unlike the data that the index was learned from.

    SOURCE is new data, which is not stored. Without it, the items of the index are read again from
    where they came, or taken from its kept vectors.
    """
    if not sources:
        refuse_options(opening, "name one, or leave it out")
    from hashret.sources import open_paths

    warnings_to_stderr()
    with open_index(index_name) as index:
        with ProgressDisplay() as progress:
            source = (
                open_paths(sources, kind=index.kind, earlier=index.columns_taken, **opening)
                if sources
                else None
            )
            found = index.outliers(source, limit, progress=progress)
        fields = index.field_names
    tell_skipped(found.skipped)
    Output.of(context).write(
        (outlier.to_dict() for outlier in found), ["rank", "error", "key"], fields
    )
    say(f"{len(found):,} of {found.measured:,} items")
    if strict and found.skipped:
        context.exit(SKIPPED_EXIT_CODE)
