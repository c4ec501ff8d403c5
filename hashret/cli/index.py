"""``hashret index``: from a dataset to an index."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hashret.cli.learning_options import (
    CommandThatLearns,
    LearningOptions,
    learning_options,
)
from hashret.cli.options import KINDS, index_path, new_index_option
from hashret.cli.progress import ProgressDisplay, warnings_to_stderr
from hashret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hashret.ingest import AddReport
    from hashret.sources import Skipped

SKIPPED_EXIT_CODE = 3

key_prefix_option = click.option(
    "--key-prefix",
    default="",
    metavar="TEXT",
    help="Put before the row numbers of array files; {stem} stands for the file's name.",
)


@click.command(cls=CommandThatLearns)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@new_index_option
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="auto",
    show_default=True,
    help="What the source holds.",
)
@key_prefix_option
@click.option(
    "--replace",
    is_flag=True,
    help="Let items take keys that belong to different items of another file.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Remove items that came from SOURCE before and are not in it any more.",
)
@click.option(
    "--keep-vectors",
    is_flag=True,
    help="Keep each item's features too, two bytes a value, for `hashret query --rerank`.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 when an input was skipped.")
@learning_options
@click.pass_context
def index(
    context: click.Context,
    sources: tuple[str, ...],
    index_name: str | None,
    kind: str,
    key_prefix: str,
    replace: bool,
    prune: bool,
    keep_vectors: bool,
    strict: bool,
    learning: LearningOptions,
) -> None:
    """Learn codes from SOURCE and store its items, or add to an index.

    SOURCE is a folder of images, an image, an IDX file (.gz too), or a .npy or .npz file of
    vectors or images. Labels beside the data become the field "label".

    A new index first learns its codes, without labels. An index that exists keeps its encoder:
    items with a new key are added, changed ones are updated, the others stay untouched.
    """
    if index_name is None:
        raise UsageError("Name the index to make or to add to with -i.")
    path = index_path(index_name, must_exist=False)
    from hashret.index import Index
    from hashret.learning import checked_copy, learn_index, refuse_existing
    from hashret.sources import open_source

    warnings_to_stderr()
    started = time.perf_counter()
    exists = (path / "items.db").is_file()
    if exists:
        opened = Index.open(path)
        if learning.given.get("n_bits") not in (None, opened.n_bits):
            raise UsageError(
                f"{path} has learned its codes of {opened.n_bits} bits already: leave out --bits "
                "to add to it, or choose another name to learn anew."
            )
        useless = [flag for flag in learning.flags if flag != "--bits"]
        if useless:
            changes = "change" if len(useless) > 1 else "changes"
            click.echo(
                f"{path} has learned already: {' and '.join(useless)} {changes} nothing.", err=True
            )
        if keep_vectors and not opened.keeps_vectors:
            raise UsageError(
                f"{path} was made without --keep-vectors: leave it out to add to it, or choose "
                "another name to index anew."
            )
        kind = opened.kind if kind == "auto" else kind
    else:
        refuse_existing(path)
        hasher = checked_copy(learning.hasher())
    source = open_source(list(sources), kind=kind, key_prefix=key_prefix)
    click.echo(f"Source: {source.description}.", err=True)
    with ProgressDisplay() as progress:
        if not exists:
            learn_index(
                path,
                source,
                hasher=hasher,
                progress=progress,
                keep_vectors=keep_vectors,
            )
            opened = Index.open(path)
        report = opened.add(source, replace=replace, prune=prune, progress=progress)
    with opened:
        _tell(report, len(opened), path, time.perf_counter() - started)
    if strict and report.skipped:
        context.exit(SKIPPED_EXIT_CODE)


def _tell(report: AddReport, total: int, path: object, seconds: float) -> None:
    tell_skipped(report.skipped)
    recognized = f" ({report.recognized:,} known by content)" * bool(report.recognized)
    counts = [
        f"{report.added:,} added{recognized}",
        f"{report.updated:,} updated",
        f"{report.unchanged:,} unchanged",
        *([f"{report.pruned:,} pruned"] if report.pruned else []),
        f"{len(report.skipped):,} skipped",
    ]
    click.echo(
        f"{', '.join(counts)}: {total:,} item{'s' * (total != 1)} in {path} ({seconds:.1f} s)",
        err=True,
    )


def tell_skipped(skipped: Sequence[Skipped]) -> None:
    """Name the inputs that were left out, and why."""
    for one in skipped:
        click.echo(f"Skipped {one.name}: {one.reason}", err=True)
