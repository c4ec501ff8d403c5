"""Pictures of items: what their bits keep of them, and where they lie in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.evaluation.drawing import COLOURS, Plot, new_figure, plain, style

MAX_LABELS = 20
MISSING = "#94a3b8"


def reconstruction_plot(
    keys: Sequence[str],
    pictures: Sequence[NDArray[np.uint8]],
    reconstructed: Sequence[NDArray[np.uint8]],
    n_bits: int,
) -> Plot:
    """Images above what their bits keep of them.

    Args:
        keys: of the items.
        pictures: ``(height, width[, 3])``, 0 to 255.
        reconstructed: the same of what was decoded.
        n_bits: the length of a code.
    """
    count = len(keys)
    with style():
        height, width = pictures[0].shape[:2]
        size = 0.85
        figure = new_figure(size * count + 0.9, 2 * size * height / width + 0.5)
        axes = figure.subplots(2, count, squeeze=False)
        for row, images, name in ((0, pictures, "item"), (1, reconstructed, f"from {n_bits} bits")):
            for axis, image in zip(axes[row], images, strict=True):
                axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axis.set(xticks=[], yticks=[])
                axis.grid(visible=False)
                axis.spines[:].set_visible(False)
            axes[row][0].set_ylabel(name, rotation=0, ha="right", va="center")
    rows = [
        (key, float(((a / 255.0 - b / 255.0) ** 2).mean()))
        for key, a, b in zip(keys, pictures, reconstructed, strict=True)
    ]
    title = "What the bits keep"
    return Plot("reconstruction", title, figure, ("key", "mean_squared_error"), rows)


def map_plot(
    keys: Sequence[str],
    labels: Sequence[Any] | None,
    autoencoder: NDArray[np.float32],
    components: NDArray[np.float32],
) -> Plot:
    """Items in the plane of a 2-unit autoencoder, beside that of two principal components.

    As figure 3 of Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural
    Networks".

    Args:
        keys: of the items.
        labels: one an item, which give the colours; None for one colour.
        autoencoder: ``(n, 2)``.
        components: ``(n, 2)``.
    """
    from matplotlib.colors import to_rgba

    groups = _groups(labels, len(keys))
    with style():
        figure = new_figure(10 if len(groups) > 1 else 9, 4.3)
        axes = figure.subplots(1, 2)
        views = (
            (autoencoder, "Autoencoder, 2 units"),
            (components, "Principal components 1 and 2"),
        )
        size = float(np.clip(24000 / max(len(keys), 1), 2, 14))
        colours = np.empty((len(keys), 4))
        for _, colour, members in groups:
            colours[members] = to_rgba(colour, 0.6)
        # In random order, or the last label would hide those before it.
        order = np.random.default_rng(0).permutation(len(keys))
        for axis, (points, title) in zip(axes, views, strict=True):
            axis.scatter(*points[order].T, s=size, c=colours[order], linewidths=0, rasterized=True)
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
            axis.set_title(title)
        if len(groups) > 1:
            dots = [axes[0].scatter([], [], s=28, color=colour) for _, colour, _ in groups]
            names = [plain(name) for name, _, _ in groups]
            figure.legend(dots, names, loc="outside right center", fontsize=8)
    columns = ("key", "label", "autoencoder_1", "autoencoder_2", "component_1", "component_2")
    shown = labels if labels is not None else [""] * len(keys)
    rows = [
        (key, label, *one, *other)
        for key, label, one, other in zip(
            keys, shown, autoencoder.tolist(), components.tolist(), strict=True
        )
    ]
    return Plot("map", "The items in a plane", figure, columns, rows)


def _groups(labels: Sequence[Any] | None, count: int) -> list[tuple[str, Any, list[int]]]:
    """Name, colour and members of each label; the rarest share one where there are many."""
    import matplotlib as mpl

    if labels is None:
        return [("", COLOURS[0], list(range(count)))]
    members: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        members.setdefault(str(label), []).append(place)
    by_size = sorted(members, key=lambda name: (-len(members[name]), name))
    kept, rare = by_size[:MAX_LABELS], by_size[MAX_LABELS:]
    palette = mpl.colormaps["tab10" if len(kept) <= 10 else "tab20"]
    # Whole numbers in their order, then texts in theirs.
    kept.sort(key=lambda name: (not name.isdecimal(), len(name) * name.isdecimal(), name))
    groups: list[tuple[str, Any, list[int]]] = [
        (name, palette(number), members[name]) for number, name in enumerate(kept)
    ]
    if rare:
        others = [place for name in rare for place in members[name]]
        groups.insert(0, ("others", MISSING, others))
    return groups
