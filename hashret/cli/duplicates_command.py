"""``hashret duplicates``: what is in an index more than once, or nearly so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import (
    Limit,
    fetch_option,
    index_option,
    only_html,
    open_index,
    where_option,
)
from hashret.cli.output import Output, output_options
from hashret.cli.progress_display import ProgressDisplay
from hashret.errors import UsageError

if TYPE_CHECKING:
    from hashret.index.duplicates import DuplicateItem, Duplicates
    from hashret.index.index import Index


_HELP = """List groups of near-duplicates: items whose codes differ in at most --radius bits.

The search is exact. Pairs that share an item hang together: each item of a group is within the
radius of another one of it, but the two ends of a chain may lie further apart. The distance
that is shown is that to the group's first item, the one that was added first.

--paths and -0 leave out the first item of each group whose file is still there, so that all but
one can be moved away or deleted; look at the groups before you do.

\b
hashret duplicates -i photos -r 2 --html groups.html
hashret duplicates -i photos --paths -0 | xargs -0 rm --
"""


@click.command(help=_HELP)
@index_option
@click.option(
    "-r",
    "--radius",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Most bits in which two items may differ; 0 for equal codes.",
)
@click.option("--pairs", is_flag=True, help="Each pair by itself, instead of groups.")
@where_option
@click.option(
    "-k",
    "--limit",
    type=Limit(),
    default="all",
    show_default=True,
    help="Most groups, the largest first, or most pairs.",
)
@click.option(
    "--html",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=only_html,
    help="Also write a page of the largest groups with their pictures, one file.",
)
@fetch_option
@output_options(paths=True)
@click.pass_context
def duplicates(
    context: click.Context,
    index_name: str | None,
    radius: int,
    pairs: bool,
    where: str | None,
    limit: int | None,
    file: Path | None,
) -> None:
    """List groups of near-duplicates: items whose codes differ in at most --radius bits."""
    output = Output.of(context)
    if pairs and (file or output.format in ("paths", "null")):
        raise UsageError("--html and --paths are for groups; leave out --pairs.")
    warnings_to_stderr()
    with open_index(index_name) as index:
        if pairs:
            _write_pairs(output, index, radius, where, limit)
            return
        from hashret.index.duplicates import find_duplicates

        with find_duplicates(index.path, radius, where) as found:
            if file is not None:
                _write_page(found, index, radius, limit, file)
            items: Iterable[DuplicateItem] = found.items(limit)
            if output.format in ("paths", "null"):
                items = _superfluous(items)
            output.write(
                (item.to_dict() for item in items),
                ["group", "distance", "key"],
                found.store.field_names(),
            )
            shown = "" if limit is None or limit >= len(found) else f", the first {limit:,} shown"
            groups = f"{len(found):,} group{'s' * (len(found) != 1)}"
            say(f"{groups} of {sum(found.sizes):,} items{shown}; {found.compared:,} compared")


def _write_pairs(
    output: Output, index: Index, radius: int, where: str | None, limit: int | None
) -> None:
    count = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal count
        for pair in islice(index.pairs(radius, where), limit):
            count += 1
            yield pair._asdict()

    output.write(rows(), ["distance", "key_a", "key_b"])
    say(f"{'the first ' if count == limit else ''}{count:,} pairs")


def _write_page(
    found: Duplicates, index: Index, radius: int, limit: int | None, file: Path
) -> None:
    from hashret.files import whole_file
    from hashret.pages.duplicates_page import duplicates_page

    with whole_file(file, overwrite=True) as out, ProgressDisplay() as progress:
        page = duplicates_page(
            found,
            index.encoder.features,
            name=index.path.name,
            radius=radius,
            limit=limit,
            progress=progress,
        )
        out.write(page.encode("utf-8", "backslashreplace"))
    say(f"Wrote {file}")


def _superfluous(items: Iterable[DuplicateItem]) -> Iterator[DuplicateItem]:
    """All but the first of each group that is there, and no other name of the very file it is."""
    kept: str | None = None
    held: list[DuplicateItem] = []
    for item in items:
        if item.rank == 1:
            kept, held = None, []
        if kept is not None:
            if _place(item) != kept:
                yield item
        elif item.location is not None and not _is_there(item.location):
            held.append(item)  # listed only if another one of the group is there to stay
        else:
            kept = _place(item)
            yield from held
            held = []


def _place(item: DuplicateItem) -> str:
    if item.location is None:
        return item.key
    # What follows a file's own path says how its text is read.
    is_file = item.location.startswith(f"{item.key}?")
    return os.path.realpath(item.key if is_file else item.location)


def _is_there(location: str) -> bool:
    """Whether the file of an item is there, or the array file or table that it is a row of."""
    from hashret.sources.locations import split_location

    file = location.rpartition("#")[0]
    names = (location, file, split_location(file or location)[0])
    return any(os.path.exists(name) for name in names)  # noqa: PTH110, a Path raises
