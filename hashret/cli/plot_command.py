"""``hashret plot``: what an index, or a way of learning, looks like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashret.cli.evaluate_command import label_option, seed_option
from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import fetch_option, index_option, open_index
from hashret.cli.progress_display import ProgressDisplay
from hashret.cli.source_options import refuse_options, source_options
from hashret.errors import UsageError

if TYPE_CHECKING:
    from hashret.evaluation.drawing import Plot
    from hashret.evaluation.samples import Sample

KINDS = ("reconstruction", "radius", "buckets", "correlation", "training", "bits", "map")
DEFAULT_LENGTHS = "8,16,32,64"
SAMPLES = {"bits": 100_000, "map": 10_000, "reconstruction": 10}


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@index_option
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to draw: a .png, .svg or .pdf. Its numbers go beside it as .csv.",
)
@click.option(
    "--bits",
    metavar="N,N,...",
    help=f"Code lengths of the plot bits.  [default: {DEFAULT_LENGTHS}]",
)
@source_options
@label_option
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most items, drawn at random.  [default: by kind]",
)
@seed_option
@fetch_option
def plot(
    kind: str,
    sources: tuple[str, ...],
    index_name: str | None,
    file: Path,
    bits: str | None,
    opening: dict[str, Any],
    label: str | None,
    sample: int | None,
    seed: int,
) -> None:
    """Draw KIND into a file.

    \b
    reconstruction  images above what their bits keep of them
    radius          precision, recall and items found against the radius
    buckets         how many items share a code
    correlation     how much bits tell of each other
    training        the loss, pass by pass
    bits            retrieval against code length, beside ITQ and LSH; learns at each length
    map             the items in the plane of a 2-unit autoencoder, beside two principal components

    They show the items of the index. With a SOURCE, reconstruction shows its items, radius asks
    them, and bits and map learn from them, for which no index is needed.
    """  # noqa: D301 - \b is for click
    from hashret.evaluation.drawing import check_format, check_writable, require_matplotlib, save

    if bits is not None and kind != "bits":
        raise UsageError(f"--bits belongs to the plot bits, not to {kind}.")
    if sources and kind in ("buckets", "correlation", "training"):
        raise UsageError(f"The plot {kind} is about an index: leave out SOURCE.")
    if not sources:
        refuse_options(opening, "name a SOURCE, or leave it out")
    lengths = _lengths(bits or DEFAULT_LENGTHS)
    check_format(file)
    require_matplotlib()
    check_writable(file)
    warnings_to_stderr()
    with ProgressDisplay() as progress:
        if kind in ("bits", "map"):
            items = _sample(kind, sources, opening, index_name, label, sample, seed, progress)
            drawn = _learned(kind, items, lengths, seed, progress)
        else:
            drawn = _of_index(kind, sources, opening, index_name, label, sample, seed, progress)
    numbers = save(drawn, file)
    say(f"{file}, its numbers in {numbers}")


def _lengths(text: str) -> list[int]:
    from hashret.codes import check_n_bits

    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--bits takes numbers with commas between, got {text!r}.") from error
    return sorted({check_n_bits(number) for number in numbers})


def _sample(
    kind: str,
    sources: tuple[str, ...],
    opening: dict[str, Any],
    index_name: str | None,
    label: str | None,
    sample: int | None,
    seed: int,
    progress: ProgressDisplay,
) -> Sample:
    from hashret.evaluation.samples import sample_of_index, sample_of_source
    from hashret.sources import open_paths

    count = sample or SAMPLES[kind]
    if sources:
        source = open_paths(sources, **opening)
        return sample_of_source(source, count, label=label, seed=seed, progress=progress)
    with open_index(index_name) as index:
        return sample_of_index(index, count, label=label, seed=seed, progress=progress)


def _learned(
    kind: str, items: Sample, lengths: list[int], seed: int, progress: ProgressDisplay
) -> Plot:
    from hashret.evaluation.item_plots import map_plot
    from hashret.evaluation.plots import bits_plot
    from hashret.evaluation.studies import planes, scores_by_bits

    if kind == "bits":
        return bits_plot(*scores_by_bits(items, lengths, seed=seed, progress=progress))
    return map_plot(items.keys, items.labels, *planes(items, seed=seed, progress=progress))


def _of_index(
    kind: str,
    sources: tuple[str, ...],
    opening: dict[str, Any],
    index_name: str | None,
    label: str | None,
    sample: int | None,
    seed: int,
    progress: ProgressDisplay,
) -> Plot:
    from hashret.evaluation import evaluate
    from hashret.evaluation.pictures import code_plots, pictures_of_items, training_of
    from hashret.evaluation.plots import radius_plot
    from hashret.sources import open_paths

    with open_index(index_name) as index:
        if kind == "training":
            return training_of(index)
        if kind in ("buckets", "correlation"):
            return next(one for one in code_plots(index) if one.name == kind)
        source = (
            open_paths(sources, kind=index.kind, earlier=index.columns_taken, **opening)
            if sources
            else None
        )
        if kind == "reconstruction":
            count = sample or SAMPLES[kind]
            return pictures_of_items(index, source, count=count, seed=seed, progress=progress)
        report = evaluate(index, source, label=label, sample=sample, seed=seed, progress=progress)
        return radius_plot(report.radius, report.truth)
