"""Vectors as features: checked and cast, and scaled to length one where angles count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError, InputError, UsageError
from hashret.features.contract import FORMAT, Failure

METRICS = ("l2", "cosine")
COSINE_FORMAT = 2
"""Of ``features.json`` with a metric, which a reader of format 1 would pass over."""

LARGEST = {"l2": 1e15, "cosine": float(np.finfo(np.float32).max)}
"""By the metric, the greatest size of a value; squares of greater ones do not fit an encoder."""

NOT_FINITE = "holds NaN or infinity"
TOO_LARGE = "holds a value of more than {:g} in size; rescale the data"
ALL_ZERO = "holds zeros only, which has no direction to compare by the cosine"


@dataclass(frozen=True, slots=True)
class VectorFeatures:
    """Rows of numbers of one length, as ``float32``.

    Attributes:
        n_features: the length.
        metric: ``"l2"`` leaves rows as they are; ``"cosine"`` scales each to length one, so that
            near means a small angle.
    """

    n_features: int
    metric: str = "l2"
    kind: ClassVar[str] = "vectors"

    @classmethod
    def learn(cls, values: Iterable[Any]) -> Self:
        """Take the length of the first vector, which all others must have.

        Raises:
            InputError: there is no vector, or they differ in length.
        """
        features: Self | None = None
        for value in values:
            vector = _as_vector(value)
            if features is None:
                features = cls(vector.size)
            features._check_length(vector)
        if features is None:
            raise InputError("Expected at least one vector to learn from, got none.")
        return features

    def matrix(self, values: Sequence[Any]) -> tuple[NDArray[np.float32], list[Failure]]:
        """Stack vectors; those with NaN, infinity or too large a value are failures.

        So are vectors of zeros, where the cosine counts.

        Raises:
            InputError: a value is no vector of this length.
        """
        vectors = [_as_vector(value) for value in values]
        for vector in vectors:
            self._check_length(vector)
        if not vectors:
            return np.empty((0, self.n_features), dtype=np.float32), []
        rows = np.stack(vectors)
        with np.errstate(over="ignore"):
            matrix = rows.astype(np.float32)
        most = LARGEST[self.metric]
        # So put, NaN is refused as well.
        usable = np.asarray((matrix.max(axis=1) <= most) & (matrix.min(axis=1) >= -most))
        good = usable & matrix.any(axis=1) if self.metric == "cosine" else usable
        failures = []
        if not good.all():
            for position in np.flatnonzero(~good).tolist():
                finite = np.isfinite(rows[position]).all()
                refused = TOO_LARGE.format(most) if finite else NOT_FINITE
                failures.append(Failure(position, ALL_ZERO if usable[position] else refused))
            matrix = matrix[good]
        return _of_length_one(matrix) if self.metric == "cosine" else matrix, failures

    def vector(self, value: Any) -> NDArray[np.float32]:
        """One vector as ``float32`` of shape ``(n_features,)``.

        Raises:
            InputError: it has another length, is not finite, or holds too large a value.
        """
        matrix, failures = self.matrix([value])
        if failures:
            raise InputError(f"The vector cannot be used: it {failures[0].reason}.")
        row: NDArray[np.float32] = matrix[0]
        return row

    def to_json(self) -> dict[str, Any]:
        """The length, and the metric where it is another than that of format 1, as JSON."""
        settings = {"kind": self.kind, "format": FORMAT, "n_features": self.n_features}
        if self.metric != "l2":
            settings |= {"format": COSINE_FORMAT, "metric": self.metric}
        return settings

    def arrays(self) -> dict[str, NDArray[Any]]:
        """None: all is in the JSON."""
        return {}

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedIndexError: the length is no positive whole number, or the metric unknown.
        """
        n_features = settings.get("n_features")
        if type(n_features) is not int or n_features < 1:
            raise DamagedIndexError(
                f"features.json is damaged: n_features must be a positive number, found "
                f"{n_features!r}."
            )
        metric = settings.get("metric", "l2")
        if metric not in METRICS:
            raise DamagedIndexError(
                f"features.json is damaged: metric must be one of {', '.join(METRICS)}, found "
                f"{metric!r}."
            )
        return cls(n_features, metric)

    def describe(self) -> str:
        """``"vectors of 64 values"``."""
        scaled = ", scaled to length one" if self.metric == "cosine" else ""
        return f"vectors of {self.n_features:,} values{scaled}"

    def _check_length(self, vector: NDArray[Any]) -> None:
        if vector.size != self.n_features:
            raise InputError(
                f"Expected a vector of shape ({self.n_features},), got shape {vector.shape}."
            )


def check_metric(metric: object, kind: str) -> str:
    """Return a metric that the features of this kind know.

    Raises:
        UsageError: it is unknown, or means nothing for this kind.
    """
    if metric not in METRICS:
        raise UsageError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}.")
    if metric != "l2" and kind != "vectors":
        raise UsageError(f"metric {metric!r} is for vectors, and the source holds {kind}.")
    return str(metric)


def _of_length_one(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    # In float64 no square is too large or too small, and each row is summed in the same order
    # in whatever batch it comes.
    lengths = np.sqrt(np.square(matrix, dtype=np.float64).sum(axis=1, keepdims=True))
    scaled: NDArray[np.float32] = (matrix / lengths).astype(np.float32)
    return scaled


def _as_vector(value: Any) -> NDArray[Any]:
    if isinstance(value, str | bytes):
        given = "text" if isinstance(value, str) else "bytes, as of an image file"
        raise InputError(f"Expected a vector of numbers, got {given}.")
    if hasattr(value, "toarray"):  # a row of a sparse matrix
        value = value.toarray().reshape(-1)
    try:
        vector = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"Expected a vector of numbers, got {type(value).__name__}: {error}"
        ) from error
    if vector.dtype.kind not in "biuf" or vector.ndim != 1 or not vector.size:
        raise InputError(
            f"Expected a vector of numbers of shape (d,), got dtype {vector.dtype} and shape "
            f"{vector.shape}."
        )
    return vector
