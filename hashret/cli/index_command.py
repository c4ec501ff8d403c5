"""``hashret index``: from a dataset to an index."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import click

from hashret.cli.learning_options import (
    CommandThatLearns,
    LearningOptions,
    learning_options,
)
from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import KINDS, index_path, new_index_option
from hashret.cli.progress_display import ProgressDisplay
from hashret.cli.source_options import source_options
from hashret.cli.telling import SKIPPED_EXIT_CODE, tell_report, tell_timings
from hashret.errors import InputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from hashret.index.encoding import AddReport
    from hashret.index.index import Index
    from hashret.sources import Source


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
@source_options
@click.option(
    "--metric",
    type=click.Choice(("l2", "cosine")),
    help="What near means for vectors: their distance, or their angle.  [default: l2]",
)
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
@click.option(
    "--timings", is_flag=True, help="Tell the seconds of each stage, and the most memory used."
)
@click.option("--strict", is_flag=True, help="Exit with 3 when an input was skipped.")
@learning_options
@click.pass_context
def index(
    context: click.Context,
    sources: tuple[str, ...],
    index_name: str | None,
    kind: str,
    opening: dict[str, Any],
    metric: str | None,
    replace: bool,
    prune: bool,
    keep_vectors: bool,
    field_indexes: tuple[str, ...],
    codes: str | None,
    keys: str | None,
    fields: str | None,
    encoder: str | None,
    timings: bool,
    strict: bool,
    learning: LearningOptions,
) -> None:
    """Learn codes from SOURCE and store its items, or add to an index.

    SOURCE is a folder of images or texts, or an archive (.zip, .tar, .tar.gz, ...) of images; a
    .npy, .npz, .hdf5, .fvecs, .bvecs or IDX file of vectors or images, where FILE.hdf5/NAME is a
    data set in it; a table (.csv, .tsv, .json, .jsonl, .parquet, an SQLite file, .txt of one text
    a line) with a column of texts, paths of images or lists of numbers; the URL of such a file
    (needs fsspec); or - for a table on standard input. Text may be gzipped. Labels beside the data
    become the field "label", other columns fields of their name.

    A new index first learns its codes, without labels. An index that exists keeps its encoder:
    items with a new key are added, changed ones are updated, the others stay untouched. Each
    million of items is on disk as soon as it is stored: what was stopped goes on when it is
    started again.
    """
    if index_name is None:
        raise UsageError("Name the index to make or to add to with -i.")
    path = index_path(index_name, must_exist=False)
    warnings_to_stderr()
    started = time.perf_counter()
    report = None
    if codes is not None:
        used: dict[str, object] = {
            "SOURCE": sources,
            "--replace": replace,
            "--prune": prune,
            "--keep-vectors": keep_vectors,
            "--metric": metric,
            **{f"--{name.replace('_', '-')}": value for name, value in opening.items()},
            **dict.fromkeys(learning.flags, True),
        }
        _refuse(used, "--codes brings codes that are ready: leave out {}.")
        opened, report = _index_codes(path, codes, keys, fields, encoder)
    else:
        _refuse({"--keys": keys, "--fields": fields, "--encoder": encoder}, "{} goes with --codes.")
        if sources:
            opened, report = _index_sources(
                path,
                sources,
                kind,
                opening,
                metric,
                learning,
                replace,
                prune,
                keep_vectors,
                field_indexes,
            )
        elif field_indexes:
            from hashret.index.index import Index

            opened = Index.open(path)
        else:
            raise UsageError("Name a SOURCE to index, or give --codes.")
    with opened:
        if report is not None:
            tell_report(report, len(opened), path, time.perf_counter() - started)
            if timings:
                tell_timings(report.seconds)
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
    from hashret.index.encoding import AddReport
    from hashret.index.folder import has_items
    from hashret.index.index import Index

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
    opening: dict[str, Any],
    metric: str | None,
    learning: LearningOptions,
    replace: bool,
    prune: bool,
    keep_vectors: bool,
    field_indexes: tuple[str, ...],
) -> tuple[Index, AddReport]:
    from hashret.index.adding import BATCH_ITEMS
    from hashret.index.creating import checked_copy, learn_index
    from hashret.index.folder import has_items
    from hashret.index.index import Index
    from hashret.index.new_folder import refuse_existing
    from hashret.progress import Stopwatch
    from hashret.sources import open_paths

    exists = has_items(path)
    if exists:
        opened = Index.open(path)
        check_learned(opened, path, learning, keep_vectors, metric)
        kind = opened.kind if kind == "auto" else kind
    else:
        refuse_existing(path)
        hasher = checked_copy(learning.hasher())
    earlier = opened.columns_taken if exists else {}
    try:
        source = open_paths(sources, kind=kind, earlier=earlier, **opening)
    except InputError as error:
        if prune and exists:
            error.add_note(
                "Nothing was pruned: what cannot be read does not tell that its items are gone. "
                "`hashret remove` removes items by their keys."
            )
        raise
    _check_fields(field_indexes, source, opened.field_names if exists else [])
    say(f"Source: {source.description}.")
    with ProgressDisplay() as progress:
        learned: dict[str, float] = {}
        if not exists:
            learned = learn_index(
                path,
                source,
                hasher=hasher,
                progress=progress,
                keep_vectors=keep_vectors,
                metric=metric or "l2",
                features=learning.features,
            )
            opened = Index.open(path)
        report = opened.add(
            source, replace=replace, prune=prune, batch_items=BATCH_ITEMS, progress=progress
        )
    if not exists and opened.kind == "text":
        say(f"Texts became {opened.encoder.describe()}.")
    clock = Stopwatch()
    for seconds in (learned, report.seconds):
        clock.add(seconds)
    return opened, dataclasses.replace(report, seconds=clock.seconds)


def _check_fields(names: tuple[str, ...], source: Source, stored: list[str]) -> None:
    """Refuse fields to index that no item can have, before all items are read."""
    known = set(stored)
    for part in source.parts:
        if part.declared_fields is None:
            return
        known |= part.declared_fields
    for name in names:
        if name not in known:
            raise UsageError(
                f"There is no field {name!r} to make --field-index of; the fields are "
                f"{', '.join(sorted(known)) or 'none'}."
            )


def check_learned(
    opened: Index,
    path: Path | str,
    learning: LearningOptions,
    keep_vectors: bool,
    metric: str | None,
) -> None:
    """Refuse, or tell of, what cannot be chosen any more."""
    if learning.given.get("n_bits") not in (None, opened.n_bits):
        raise UsageError(
            f"{path} has learned its codes of {opened.n_bits} bits already: leave out --bits "
            "to add to it, or choose another name to learn anew."
        )
    own_features = getattr(opened.encoder.features, "method", None)
    if learning.features not in ("auto", own_features):
        made = f"with --features {own_features}" if own_features else f"of {opened.kind}"
        raise UsageError(
            f"{path} was made {made}: leave out --features {learning.features} to add to it, or "
            "choose another name to learn anew."
        )
    useless = [flag for flag in learning.flags if flag not in ("--bits", "--features")]
    if useless:
        changes = "change" if len(useless) > 1 else "changes"
        say(f"{path} has learned already: {' and '.join(useless)} {changes} nothing.")
    own_metric = getattr(opened.encoder.features, "metric", "l2") if metric else None
    if metric != own_metric:
        raise UsageError(
            f"{path} was made with --metric {own_metric}: leave out --metric {metric} to add to "
            "it, or choose another name to learn anew."
        )
    if keep_vectors and not opened.keeps_vectors:
        raise UsageError(
            f"{path} was made without --keep-vectors: leave it out to add to it, or choose "
            "another name to index anew."
        )
