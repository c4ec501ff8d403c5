"""How images are compared: by where their edges lie and which way these run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GRID = 7
ORIENTATIONS = 9
SMALLEST = 1e-12


def orientation_histograms(
    X: NDArray[np.float32], image_shape: Sequence[int]
) -> NDArray[np.float32]:
    """Histograms of oriented gradients of images.

    After Dalal and Triggs (2005), "Histograms of Oriented Gradients for Human Detection": a grid
    of at most 7 x 7 cells, in each the gradients summed up by orientation in 9 bins of 20 degrees.
    Instead of normalised blocks, the square roots of a whole image's histograms are scaled to unit
    length (the Hellinger kernel). Of several channels the one with the steepest gradient counts.

    Args:
        X: pixels, ``float32``, shape ``(n, height * width * channels)``.
        image_shape: ``(height, width)`` or ``(height, width, channels)``, sides of 2 at least.

    Returns:
        ``float32``, shape ``(n, rows * columns * 9)``, of length 1, or 0 for images without edges.
    """
    height, width, channels = (*image_shape, 1)[:3]
    images = X.reshape(len(X), height, width, channels)
    down, across = np.zeros_like(images), np.zeros_like(images)
    down[:, 1:-1] = images[:, 2:] - images[:, :-2]
    across[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    size = np.hypot(down, across)
    steepest = size.argmax(axis=3)[..., None]
    down, across, size = (
        np.take_along_axis(each, steepest, axis=3)[..., 0] for each in (down, across, size)
    )
    # A gradient between the middles of two bins is shared by them.
    bins = np.arctan2(down, across) % np.pi * (ORIENTATIONS / np.pi)
    lower = np.floor(bins)
    upper_share = bins - lower
    lower = lower.astype(np.int8) % ORIENTATIONS
    upper = (lower + 1) % ORIENTATIONS
    edges = [np.linspace(0, side, min(GRID, side // 2), endpoint=False).astype(int)
             for side in (height, width)]  # fmt: skip
    histograms = np.empty((len(X), len(edges[0]), len(edges[1]), ORIENTATIONS), dtype=np.float32)
    for orientation in range(ORIENTATIONS):
        share = np.where(lower == orientation, 1 - upper_share, 0)
        share += np.where(upper == orientation, upper_share, 0)
        rows = np.add.reduceat(share * size, edges[0], axis=1)
        histograms[..., orientation] = np.add.reduceat(rows, edges[1], axis=2)
    roots = np.sqrt(histograms).reshape(len(X), -1)
    return roots / (np.linalg.norm(roots, axis=1, keepdims=True) + SMALLEST)
