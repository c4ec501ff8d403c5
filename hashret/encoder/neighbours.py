"""Which items resemble which: mutual nearest neighbours, and random walks among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashret.encoder.orientations import orientation_histograms

PCA_DIMENSIONS = 64
PCA_ROWS = 20_000
BLOCK_ROWS = 4096
MIN_SIDE = 4
COLOUR_WEIGHT = 0.5
"""What the pixels of colour images count in the distance between them, beside their edges."""


@dataclass(frozen=True)
class NeighbourGraph:
    """An undirected graph over rows, as adjacency lists.

    Attributes:
        starts: ``int64``, shape ``(n + 1,)``; row ``i`` owns ``targets[starts[i]:starts[i + 1]]``.
        targets: ``int64``, the neighbours, ascending within a row.
        spread: how far the nearest neighbours are: the mean of their squared distances over that
            of any two rows, 0 where neighbours are copies, 1 where there is no structure.
    """

    starts: NDArray[np.int64]
    targets: NDArray[np.int64]
    spread: float

    def walk(
        self, rows: NDArray[np.int64], length: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Where random walks from ``rows`` end.

        The first step is always taken, each further one up to ``length`` with probability one
        half. A row without neighbours stays where it is.

        Args:
            rows: where the walks start, shape ``(m,)``.
            length: the most steps of a walk.
            rng: source of randomness.

        Returns:
            ``int64`` rows, shape ``(m,)``.
        """
        degrees = np.diff(self.starts)
        position = rows.copy()
        for step in range(length):
            moves = degrees[position] > 0
            if step:
                moves &= rng.random(len(position)) < 0.5
            at = position[moves]
            choice = (rng.random(len(at)) * degrees[at]).astype(np.int64)
            position[moves] = self.targets[self.starts[at] + choice]
        return position


def mutual_neighbours(
    X: NDArray[np.float32],
    n_neighbors: int,
    rng: np.random.Generator,
    image_shape: Sequence[int] | None = None,
) -> NeighbourGraph:
    """Connect the rows that are among each other's nearest neighbours.

    Neighbours are exact in Euclidean distance over the leading 64 principal components, of images
    over those of :func:`image_features`. Keeping mutual edges alone drops about half of them, and
    among those most that join unlike items.

    Args:
        X: ``float32``, shape ``(n, d)``, finite.
        n_neighbors: neighbours a row may name.
        rng: source of randomness of the randomized decomposition.
        image_shape: ``(height, width[, channels])`` of rows that are images.
    """
    n = len(X)
    if image_shape is not None and min(image_shape[:2]) >= MIN_SIDE:
        X = image_features(X, image_shape, rng)
    components = principal_components(X, rng)
    named, squared = nearest_rows(components, n_neighbors)
    # The mean squared distance of two rows is twice the variance.
    between = 2 * float(components.var(axis=0, dtype=np.float64).sum())
    spread = float(squared.mean()) / between if between > 0 and squared.size else 0.0
    sources = np.repeat(np.arange(n, dtype=np.int64), named.shape[1])
    edges = np.sort(sources * n + named.ravel())
    backwards = np.sort(named.ravel() * n + sources)
    mutual = edges[np.isin(edges, backwards, assume_unique=True)]
    starts = np.searchsorted(mutual, np.arange(n + 1, dtype=np.int64) * n)
    return NeighbourGraph(starts.astype(np.int64), mutual % n, spread)


def image_features(
    X: NDArray[np.float32], image_shape: Sequence[int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """What images are compared by: their oriented gradients, and the pixels of those in colour.

    Things of one kind share an outline rather than the grey of a pixel: of 15 neighbours in
    Fashion-MNIST 80 % are of the same class by pixels, 85 % by gradients.

    Returns:
        ``float32``, shape ``(n, 64)`` at most, ``(n, 128)`` for images of several channels.
    """
    edges = np.concatenate(
        [
            orientation_histograms(X[start : start + BLOCK_ROWS], image_shape)
            for start in range(0, len(X), BLOCK_ROWS)
        ]
    )
    components = principal_components(edges, rng)
    if (*image_shape, 1)[2] == 1:
        return components
    pixels = principal_components(X, rng)
    return np.hstack([_scaled(components, 1), _scaled(pixels, COLOUR_WEIGHT)])


def _scaled(X: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    total = float(X.var(axis=0, dtype=np.float64).sum())
    return X * np.float32(deviation / np.sqrt(total) if total > 0 else 0)


def nearest_rows(X: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The exact ``k`` nearest other rows of every row, and their squared Euclidean distances.

    Returns:
        ``int64`` rows and ``float32`` squared distances, shape ``(n, min(k, n - 1))`` each.
    """
    import faiss

    n = len(X)
    k = min(k, n - 1)
    if k < 1:
        return np.empty((n, 0), dtype=np.int64), np.empty((n, 0), dtype=np.float32)
    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    nearest = np.empty((n, k), dtype=np.int64)
    squared = np.empty((n, k), dtype=np.float32)
    for start in range(0, n, BLOCK_ROWS):  # blocks, so that an interrupt is heard in between
        distances, block = index.search(X[start : start + BLOCK_ROWS], k + 1)
        own = block == np.arange(start, start + len(block))[:, None]
        # Among many equal rows a row need not find itself: then its last neighbour goes.
        own[~own.any(axis=1), k] = True
        nearest[start : start + BLOCK_ROWS] = block[~own].reshape(len(block), k)
        squared[start : start + BLOCK_ROWS] = distances[~own].reshape(len(block), k)
    return nearest, squared


def principal_components(X: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Project centred rows on the leading 64 principal components, learned from 20,000 rows.

    Data of 64 features or fewer are returned as they are.
    """
    if X.shape[1] <= PCA_DIMENSIONS:
        return np.ascontiguousarray(X)
    from sklearn.utils.extmath import randomized_svd

    rows = rng.choice(len(X), PCA_ROWS, replace=False) if len(X) > PCA_ROWS else slice(None)
    sample = X[rows]
    mean = sample.mean(axis=0)
    rank = min(PCA_DIMENSIONS, len(sample))
    seed = int(rng.integers(2**31))
    components = randomized_svd(sample - mean, rank, random_state=seed)[2].T
    projected = np.empty((len(X), rank), dtype=np.float32)
    for start in range(0, len(X), BLOCK_ROWS):
        projected[start : start + BLOCK_ROWS] = (X[start : start + BLOCK_ROWS] - mean) @ components
    return projected
