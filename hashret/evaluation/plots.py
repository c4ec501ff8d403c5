"""What evaluation shows: a function a picture, from numbers to a `Plot`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from hashret.codes import Codes, bit_moments, bucket_sizes
from hashret.errors import InputError
from hashret.evaluation.drawing import COLOURS, INK, Plot, new_figure, plain, style
from hashret.evaluation.metrics import RadiusCurve

ALMOST_ALL = 0.995
MAX_ACROSS = 4
MAX_MARKS = 32


def radius_plot(curve: RadiusCurve, truth: str) -> Plot:
    """Precision, recall and the number of items within each radius."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    n_bits = len(curve.precision) - 1
    # Beyond where all is found, the curves say nothing more.
    last = min(int(np.argmax(curve.recall >= ALMOST_ALL)) or n_bits, n_bits)
    radii = np.arange(last + 1)
    with style():
        figure = new_figure(9, 3.6)
        shares, counts = figure.subplots(1, 2)
        mark = "o" if last <= MAX_MARKS else None
        for values, name, colour in (
            (curve.precision, "precision", COLOURS[0]),
            (curve.recall, "recall", COLOURS[1]),
            (curve.empty, "queries that find nothing", COLOURS[5]),
        ):
            line = ":" if values is curve.empty else "-"
            shown = values[: last + 1]
            shares.plot(radii, shown, line, color=colour, marker=mark, ms=3, label=name)
        shares.set(ylim=(-0.02, 1.02), xlabel="radius (bits)", ylabel="share")
        shares.yaxis.set_major_formatter(PercentFormatter(1))
        shares.legend(loc="best", fontsize=8)
        shares.set_title(f"Relevant: {plain(truth)}")
        items = np.where(curve.items > 0, curve.items, np.nan)[: last + 1]
        counts.plot(radii, items, color=COLOURS[2], marker=mark, ms=3)
        counts.set(yscale="log", xlabel="radius (bits)", ylabel="items")
        counts.set_title("Items within the radius, mean")
        for axis in (shares, counts):
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    columns = ("radius", "precision", "recall", "items", "empty")
    table = np.column_stack([curve.precision, curve.recall, curve.items, curve.empty]).tolist()
    rows = [(radius, *values) for radius, values in enumerate(table)]
    return Plot("radius", "Precision and recall within a radius", figure, columns, rows)


def buckets_plot(codes: Codes) -> Plot:
    """The share of items in buckets of each size, sizes in powers of two."""
    from matplotlib.ticker import PercentFormatter

    sizes = bucket_sizes(codes)
    highest = max(int(sizes.max()) - 1, 0).bit_length()
    edges = [0, *(2**power for power in range(highest + 1))]
    rows = []
    for low, high in pairwise(edges):
        inside = sizes[(sizes > low) & (sizes <= high)]
        rows.append((low + 1, high, len(inside), int(inside.sum()), inside.sum() / len(codes)))
    names = [f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}" for low, high, *_ in rows]
    with style():
        figure = new_figure(max(5.0, 0.62 * len(rows) + 1.5), 3.6)
        axis = figure.subplots()
        bars = axis.bar(names, [row[-1] for row in rows], color=COLOURS[0], width=0.75)
        labels = [f"{row[2]:,}" if row[2] else "" for row in rows]
        axis.bar_label(bars, labels, fontsize=7, padding=2, color=INK)
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set(xlabel="items in a bucket", ylabel="share of all items")
        axis.grid(axis="x", visible=False)
        axis.margins(y=0.12)
        if len(rows) > 8:
            axis.tick_params(axis="x", rotation=40)
        items, buckets = (
            f"{n:,} {what}{'s' * (n != 1)}"
            for n, what in ((len(codes), "item"), (len(sizes), "bucket"))
        )
        axis.set_title(f"{items} in {buckets} (the number of buckets on the bars)")
    columns = ("from", "to", "buckets", "items", "share")
    return Plot("buckets", "How crowded the buckets are", figure, columns, rows)


def correlation_plot(codes: Codes) -> Plot:
    """The correlation of every two bits."""
    correlation = bit_moments(codes)[1]
    n_bits = len(correlation)
    upper = np.triu_indices(n_bits, 1)
    shown = correlation.copy()
    np.fill_diagonal(shown, np.nan)
    pairs = np.abs(correlation[upper])
    limit = max(float(pairs.max(initial=0)), 0.05)
    with style():
        figure = new_figure(5.4, 4.4)
        axis = figure.subplots()
        image = axis.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set(xlabel="bit", ylabel="bit")
        axis.grid(visible=False)
        axis.set_title(f"absolute: mean {pairs.mean():.3f}, largest {pairs.max(initial=0):.3f}")
        figure.colorbar(image, ax=axis, label="correlation", shrink=0.85).outline.set_visible(False)
    rows = [
        (int(i), int(j), float(value))
        for i, j, value in zip(*upper, correlation[upper], strict=True)
    ]
    title = "How much bits tell of each other"
    return Plot("correlation", title, figure, ("bit", "other_bit", "correlation"), rows)


def training_plot(history: Sequence[Mapping[str, Any]]) -> Plot:
    """The terms of the loss in each pass over the data.

    Args:
        history: for each pass its number as ``epoch``, and numbers by name.

    Raises:
        InputError: there are no passes.
    """
    from matplotlib.ticker import MaxNLocator

    if not history:
        raise InputError("There is no history of training: the encoder was not trained in passes.")
    numbers = (int, float)
    names = list(
        dict.fromkeys(
            name
            for one in history
            for name, value in one.items()
            if name != "epoch" and isinstance(value, numbers) and not isinstance(value, bool)
        )
    )
    epochs = [one.get("epoch", number) for number, one in enumerate(history, 1)]
    together = [name for name in names if name in ("loss", "validation_loss")]
    panels = [together] * bool(together) + [[name] for name in names if name not in together]
    with style():
        across = min(len(panels), MAX_ACROSS)
        down = -(-len(panels) // MAX_ACROSS)
        figure = new_figure(3.2 * across, 3.0 * down)
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for axis in axes[len(panels) :]:
            axis.remove()
        mark = "o" if len(history) <= MAX_MARKS else None
        for axis, panel in zip(axes[: len(panels)], panels, strict=True):
            for name in panel:
                values = [one.get(name, math.nan) for one in history]
                values = [math.nan if value is None else value for value in values]
                colour = COLOURS[1] if name == "validation_loss" else COLOURS[0]
                text = {"loss": "learned from", "validation_loss": "held out"}.get(name, name)
                axis.plot(epochs, values, color=colour, marker=mark, ms=3, label=text)
            axis.set(xlabel="pass")
            axis.set_title(panel[0].replace("_", " "))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            if len(panel) > 1:
                axis.legend(fontsize=8)
    rows = [
        (epoch, *(one.get(name) for name in names))
        for epoch, one in zip(epochs, history, strict=True)
    ]
    return Plot("training", "Training, pass by pass", figure, ("epoch", *names), rows)


def bits_plot(scores: Sequence[Mapping[str, Any]], truth: str) -> Plot:
    """Retrieval against code length, a line a method.

    Args:
        scores: ``method``, ``bits``, ``map_1000`` and ``precision_100`` of each.
        truth: what is relevant, in words.
    """
    from matplotlib.ticker import NullLocator

    lengths = sorted({one["bits"] for one in scores})
    measures = (("map_1000", "mAP@1000"), ("precision_100", "P@100"))
    with style():
        figure = new_figure(9, 3.6)
        axes = figure.subplots(1, 2)
        for axis, (measure, name) in zip(axes, measures, strict=True):
            for method, colour in zip(
                dict.fromkeys(one["method"] for one in scores), COLOURS, strict=False
            ):
                line = sorted((s["bits"], s[measure]) for s in scores if s["method"] == method)
                axis.plot(*zip(*line, strict=True), color=colour, marker="o", ms=4, label=method)
            axis.set_xscale("log", base=2)
            axis.set_xticks(lengths, [str(length) for length in lengths])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set(xlabel="bits", ylabel=name)
        axes[0].legend()
        axes[0].set_title(f"Relevant: {plain(truth)}")
    columns = ("method", "bits", "map_1000", "precision_100")
    rows = [tuple(one[name] for name in columns) for one in scores]
    return Plot("bits", "Retrieval against code length", figure, columns, rows)
