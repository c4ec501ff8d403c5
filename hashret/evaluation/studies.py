"""What takes learning to show: retrieval by code length, and the map of a 2-unit autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.encoder import FloatAutoencoder, SemanticHasher, TrainingProgress
from hashret.encoder.baselines import ITQ, RandomHyperplanes
from hashret.errors import InputError
from hashret.evaluation.evaluating import SAMPLE, TRUE_NEIGHBOURS
from hashret.evaluation.float_vectors import NearestVectors
from hashret.evaluation.histograms import Histograms, code_histograms, neighbour_histograms
from hashret.evaluation.metrics import average_precision, precision_at
from hashret.evaluation.samples import Sample
from hashret.progress import Progress, ProgressCallback

METHODS: dict[str, Callable[..., Any]] = {
    "hashret": SemanticHasher,
    "ITQ": ITQ,
    "LSH": RandomHyperplanes,
}


def scores_by_bits(
    sample: Sample, lengths: Sequence[int], *, seed: int = 0, progress: ProgressCallback
) -> tuple[list[dict[str, Any]], str]:
    """Learn from the items at each code length, and ask 1,000 of them, each leaving itself out.

    Args:
        sample: the items.
        lengths: code lengths in bits. ITQ is left out where it would need more components than
            there are features.
        seed: of what is drawn.
        progress: told how far the learning has come.

    Returns:
        ``method``, ``bits``, ``map_1000`` and ``precision_100`` of each; and what is relevant, in
        words: an equal label, or, without labels, the 100 nearest by features.
    """
    rng = np.random.default_rng(seed)
    n = len(sample.keys)
    if n < 2:
        raise InputError(f"Comparing code lengths needs at least 2 items, got {n}.")
    asked = np.sort(rng.choice(n, min(SAMPLE, n), replace=False))
    numbers: NDArray[np.int64] | None = None
    if sample.labels is not None:
        numbers = np.unique([str(label) for label in sample.labels], return_inverse=True)[1]
        truth = "equal label"
    else:
        nearest = NearestVectors(sample.matrix[asked], min(TRUE_NEIGHBOURS, n - 1), asked)
        for start in range(0, n, 4096):
            rows = np.arange(start, min(start + 4096, n))
            nearest.add(rows, sample.matrix[rows])
        truth = f"the {nearest.rows.shape[1]} nearest by features"

    def counted(codes: Codes) -> Histograms:
        if numbers is None:
            return neighbour_histograms(codes[asked], codes, nearest.rows, asked)
        return code_histograms(codes[asked], codes, numbers[asked], numbers, asked)

    scores = []
    for n_bits in lengths:
        for name, method in METHODS.items():
            if method is ITQ and n_bits > sample.matrix.shape[1]:
                continue
            hasher = method(n_bits, random_state=seed)
            hasher.fit(sample.matrix, progress=_telling(progress, f"{name}, {n_bits} bits"))
            histograms = counted(hasher.transform(sample.matrix))
            scores.append(
                {
                    "method": name,
                    "bits": n_bits,
                    "map_1000": float(average_precision(histograms, 1000).mean()),
                    "precision_100": float(precision_at(histograms, 100).mean()),
                }
            )
    return scores, truth


def planes(
    sample: Sample, *, seed: int = 0, progress: ProgressCallback
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The items in the plane of a 2-unit autoencoder, and in that of two principal components.

    Returns:
        Two arrays ``float32``, ``(n, 2)``.

    Raises:
        InputError: fewer than two features.
    """
    if sample.matrix.shape[1] < 2:
        raise InputError("A map needs items of at least 2 features, these have 1.")
    autoencoder = FloatAutoencoder(n_units=2, random_state=seed)
    autoencoder.fit(sample.matrix, progress=_telling(progress, "2 units"))
    centred = sample.matrix - sample.matrix.mean(axis=0)
    vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))[1][:, :-3:-1]
    components = (centred @ vectors).astype(np.float32)
    return np.asarray(autoencoder.transform(sample.matrix), dtype=np.float32), components


def _telling(progress: ProgressCallback, what: str) -> Callable[[TrainingProgress], None]:
    def tell(state: TrainingProgress) -> None:
        note = f"{what}, pass {state.epoch} of {state.epochs}"
        progress(Progress("learning", state.step, state.steps, note))

    return tell
