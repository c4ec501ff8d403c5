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
from hashret.cli.messages import on_one_line, say, warnings_to_stderr
from hashret.cli.options import KINDS, index_path, new_index_option
from hashret.cli.progress import ProgressDisplay
from hashret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hashret.index import Index
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
@click.argument("sources", nargs=-1, metavar="SOURCE...")
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
@click.option(
    "--field-index",
    "field_indexes",
    multiple=True,
    metavar="FIELD",
    help="Make conditions on this field fast (repeatable); needs no SOURCE for an index that "
    "exists.",
)
@click.option(
    "--codes",
    metavar="FILE",
    help="Instead of SOURCE, codes that are ready: a .npy array, uint8, (n, bits / 8), or the "
    ".jsonl of `hashret export`. A new index then has no encoder.",
)
@click.option(
    "--keys", metavar="FILE", help="Keys of --codes, one a line.  [default: 0, 1, 2, ...]"
)
@click.option("--fields", metavar="FILE", help="Fields of --codes, one JSON object a line.")
@click.option("--encoder", metavar="FINGERPRINT", help="The encoder that made --codes.")
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
    field_indexes: tuple[str, ...],
    codes: str | None,
    keys: str | None,
    fields: str | None,
    encoder: str | None,
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
    warnings_to_stderr()
    started = time.perf_counter()
    report = None
    if codes is not None:
        used = {
            "SOURCE": sources,
            "--replace": replace,
            "--prune": prune,
            "--keep-vectors": keep_vectors,
            "--key-prefix": key_prefix,
            **dict.fromkeys(learning.flags, True),
        }
        _refuse(used, "--codes brings codes that are ready: leave out {}.")
        opened, report = _index_codes(path, codes, keys, fields, encoder)
    else:
        _refuse({"--keys": keys, "--fields": fields, "--encoder": encoder}, "{} goes with --codes.")
        if sources:
            opened, report = _index_sources(
                path, sources, kind, key_prefix, learning, replace, prune, keep_vectors
            )
        elif field_indexes:
            from hashret.index import Index

            opened = Index.open(path)
        else:
            raise UsageError("Name a SOURCE to index, or give --codes.")
    with opened:
        if report is not None:
            _tell(report, len(opened), path, time.perf_counter() - started)
        for name in field_indexes:
            opened.index_field(name)
    if strict and report is not None and report.skipped:
        context.exit(SKIPPED_EXIT_CODE)


def _refuse(given: dict[str, object], message: str) -> None:
    flags = [flag for flag, value in given.items() if value]
    if flags:
        raise UsageError(message.format(" and ".join(flags)))


def _index_codes(
    path: Path, codes: str, keys: str | None, fields: str | None, encoder: str | None
) -> tuple[Index, AddReport]:
    from hashret.index import Index
    from hashret.ingest import AddReport
    from hashret.place import has_items

    with ProgressDisplay() as progress:
        if not has_items(path):
            made = Index.create_from_codes(
                path, codes, keys, fields, fingerprint=encoder, progress=progress
            )
            return made, AddReport(added=len(made))
        opened = Index.open(path)
        report = opened.add_codes(codes, keys, fields, fingerprint=encoder, progress=progress)
        return opened, report


def _index_sources(
    path: Path,
    sources: tuple[str, ...],
    kind: str,
    key_prefix: str,
    learning: LearningOptions,
    replace: bool,
    prune: bool,
    keep_vectors: bool,
) -> tuple[Index, AddReport]:
    from hashret.index import Index
    from hashret.learning import checked_copy, learn_index
    from hashret.new_folder import refuse_existing
    from hashret.place import has_items
    from hashret.sources import open_paths

    exists = has_items(path)
    if exists:
        opened = Index.open(path)
        _check_learned(opened, path, learning, keep_vectors)
        kind = opened.kind if kind == "auto" else kind
    else:
        refuse_existing(path)
        hasher = checked_copy(learning.hasher())
    source = open_paths(sources, kind=kind, key_prefix=key_prefix)
    say(f"Source: {source.description}.")
    with ProgressDisplay() as progress:
        if not exists:
            learn_index(
                path,
                source,
                hasher=hasher,
                progress=progress,
                keep_vectors=keep_vectors,
                features=learning.features,
            )
            opened = Index.open(path)
        return opened, opened.add(source, replace=replace, prune=prune, progress=progress)


def _check_learned(
    opened: Index, path: Path, learning: LearningOptions, keep_vectors: bool
) -> None:
    """Refuse, or tell of, what cannot be chosen any more."""
    if learning.given.get("n_bits") not in (None, opened.n_bits):
        raise UsageError(
            f"{path} has learned its codes of {opened.n_bits} bits already: leave out --bits "
            "to add to it, or choose another name to learn anew."
        )
    useless = [flag for flag in learning.flags if flag != "--bits"]
    if useless:
        changes = "change" if len(useless) > 1 else "changes"
        say(f"{path} has learned already: {' and '.join(useless)} {changes} nothing.")
    if keep_vectors and not opened.keeps_vectors:
        raise UsageError(
            f"{path} was made without --keep-vectors: leave it out to add to it, or choose "
            "another name to index anew."
        )


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
    say(f"{', '.join(counts)}: {total:,} item{'s' * (total != 1)} in {path} ({seconds:.1f} s)")


def tell_skipped(skipped: Sequence[Skipped]) -> None:
    """Name the inputs that were left out, and why."""
    for one in skipped:
        say(on_one_line(f"Skipped {one.name}: {one.reason}"))
