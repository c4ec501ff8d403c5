"""How much of the items codes keep, beside what principal components keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashret.errors import InputError

MAX_INTENSITY = 255
FLOAT_BITS = 32

MAX_COVARIANCE = 4096
"""Of more features than this, the few components that count are found without a covariance."""


@dataclass(frozen=True)
class ReconstructionScores:
    """Mean squared errors a feature, in input units divided by ``unit``.

    Attributes:
        unit: the largest intensity, where the data are intensities, so that errors are those of
            values from 0 to 1; otherwise 1.
        variance: the error of the mean item: what there is to explain.
        codes: the error of what the decoder makes of the codes.
        same_bits: that of as many principal components as fit, as 32-bit floats, into the bits of
            a code, at least one.
        same_bits_components: how many these are.
        same_dimensions: that of one principal component, as a float, for each bit.
        same_dimensions_components: how many these are: ``n_bits``, or all there are.
    """

    unit: float
    variance: float
    codes: float
    same_bits: float
    same_bits_components: int
    same_dimensions: float
    same_dimensions_components: int


def reconstruction_scores(
    rows: NDArray[np.float32],
    reconstructed: NDArray[np.float32],
    training_rows: NDArray[np.float32],
    n_bits: int,
) -> ReconstructionScores:
    """Compare reconstructions with those of principal components.

    Args:
        rows: the items, ``float32``, shape ``(n, d)``.
        reconstructed: what was made of their codes, the same shape.
        training_rows: what the principal components are learned from, shape ``(m, d)``; for a fair
            comparison, rows like those from which the codes were learned.
        n_bits: the length of a code.

    Raises:
        InputError: shapes that do not fit, or no rows.
    """
    if rows.shape != reconstructed.shape or rows.ndim != 2 or not len(rows):
        raise InputError(
            f"Expected as many reconstructed rows as rows, got shapes {reconstructed.shape} and "
            f"{rows.shape}."
        )
    if training_rows.ndim != 2 or training_rows.shape[1] != rows.shape[1] or not len(training_rows):
        raise InputError(
            f"Expected training rows of {rows.shape[1]} features, got shape {training_rows.shape}."
        )
    unit = unit_of(training_rows)
    few = min(max(n_bits // FLOAT_BITS, 1), rows.shape[1])
    many = min(n_bits, rows.shape[1])
    errors = component_errors(training_rows, rows, (0, few, many))
    return ReconstructionScores(
        unit=unit,
        variance=errors[0] / unit**2,
        codes=float(np.mean((rows - reconstructed) ** 2, dtype=np.float64)) / unit**2,
        same_bits=errors[few] / unit**2,
        same_bits_components=few,
        same_dimensions=errors[many] / unit**2,
        same_dimensions_components=many,
    )


def component_errors(
    training_rows: NDArray[np.float32], rows: NDArray[np.float32], counts: tuple[int, ...]
) -> dict[int, float]:
    """Mean squared error of ``rows`` from so many principal components, by their number."""
    mean = training_rows.mean(axis=0, dtype=np.float64)
    components = _components(training_rows - mean, max(counts))
    scored = rows - mean
    # Orthonormal components: what they keep and what they lose of a row are at right angles.
    total = float((scored**2).sum())
    kept = np.concatenate([[0.0], np.cumsum(((scored @ components) ** 2).sum(axis=0))])
    return {
        count: max(total - float(kept[min(count, len(kept) - 1)]), 0.0) / rows.size
        for count in counts
    }


def _components(centred: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The leading principal components as columns, ``(d, count)``, or as many as there are."""
    width = centred.shape[1]
    if width <= MAX_COVARIANCE:
        found: NDArray[np.float64] = np.linalg.eigh(centred.T @ centred)[1][:, : -count - 1 : -1]
        return found
    from sklearn.decomposition import PCA

    count = min(count, len(centred) - 1)
    if count < 1 or not centred.any():
        return np.empty((width, 0))
    pca = PCA(count, svd_solver="arpack", random_state=0).fit(centred)
    return np.asarray(pca.components_, dtype=np.float64).T


def unit_of(rows: NDArray[np.float32]) -> float:
    """The largest intensity in data of whole numbers from 0 to at most 255, otherwise 1."""
    low, high = float(rows.min()), float(rows.max())
    if low >= 0 and 1 < high <= MAX_INTENSITY and bool((rows == np.rint(rows)).all()):
        return high
    return 1.0
