"""Classical hashing without labels, to compare with: each fits, saves and indexes as the hasher."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import check_n_bits
from hashret.encoder.artefacts import Artefacts
from hashret.encoder.estimator import CodeEstimator
from hashret.encoder.quiet import quiet_stderr
from hashret.encoder.training_progress import TrainingProgress
from hashret.errors import InputError

Matrix = NDArray[np.float32]

BLOCK_ROWS = 8192


class ProjectionHash(CodeEstimator):
    """Bits are the signs of projections of centred data, or of the cosines of projections.

    What decodes is the linear map from bits to features with the least squared error.

    Args:
        n_bits: length of a code, a multiple of 8 from 8 to 1024.
        random_state: seed of what is drawn at random; None for chance.

    Attributes:
        mean_: the training data's mean, ``float32``, shape ``(d,)``.
        projection_: of centred data, ``float32``, shape ``(d, n_bits)``.
        offset_: added to the projections, ``float32``, shape ``(n_bits,)``.

    Example:
        >>> ITQ(n_bits=32, random_state=0).fit(X).transform(X)  # doctest: +SKIP
    """

    cosines: ClassVar[bool] = False

    def __init__(
        self, n_bits: int = 64, *, random_state: int | np.random.RandomState | None = None
    ) -> None:
        """Store the parameters; ``fit`` checks them."""
        self.n_bits = n_bits
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: object = None,  # noqa: ARG002 - as scikit-learn calls it
        progress: Callable[[TrainingProgress], None] | None = None,  # noqa: ARG002 - every hasher's
    ) -> Self:
        """Learn from a matrix of items.

        Args:
            X: numbers, shape ``(n, d)``, finite; converted to ``float32``.
            y: ignored.
            progress: ignored: a fit takes seconds.

        Raises:
            UsageError: ``n_bits`` is no possible code length.
            InputError: ``X`` is no finite, dense, numeric matrix, or too narrow for so many bits.
        """
        check_n_bits(self.n_bits)
        X = self._check_matrix(X, reset=True)
        self.mean_ = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.projection_, self.offset_ = self._learn(X - self.mean_, self._generator())
        decoder = self._least_squares_decoder(X)
        with quiet_stderr():
            # Before Keras: it sets what TensorFlow reads when it is first imported.
            import hashret.encoder.learning  # noqa: F401 - for that alone
            from hashret.encoder.projection_model import projection_files

        files = projection_files(
            self.mean_, self.projection_, self.offset_, *decoder, cosines=self.cosines
        )
        self._adopt(Artefacts(*files, self._facts(len(X))))
        return self

    @abstractmethod
    def _learn(self, centred: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        """The projection ``(d, n_bits)`` and offsets ``(n_bits,)`` for data around their mean."""

    def _components(self, centred: Matrix, count: int) -> Matrix:
        """The leading ``count`` eigenvectors of the covariance, as columns."""
        if centred.shape[1] < count:
            raise InputError(
                f"{count} principal components need as many features; got "
                f"{centred.shape[1]}. Ask for fewer bits."
            )
        covariance = (centred.T @ centred).astype(np.float64)
        vectors = np.linalg.eigh(covariance)[1].astype(np.float32)
        return np.ascontiguousarray(vectors[:, : -count - 1 : -1])

    def _no_offset(self) -> Matrix:
        return np.zeros(self.n_bits, dtype=np.float32)

    def _least_squares_decoder(self, X: Matrix) -> tuple[Matrix, Matrix]:
        """The kernel ``(n_bits, d)`` and bias ``(d,)`` that give features back best from bits."""
        gram = np.zeros((self.n_bits + 1, self.n_bits + 1))
        products = np.zeros((self.n_bits + 1, X.shape[1]))
        for start in range(0, len(X), BLOCK_ROWS):
            centred = X[start : start + BLOCK_ROWS] - self.mean_
            values = centred @ self.projection_ + self.offset_
            bits = np.ones((len(centred), self.n_bits + 1), dtype=np.float32)
            bits[:, :-1] = (np.cos(values) if self.cosines else values) > 0
            gram += bits.T @ bits
            products += bits.T @ centred
        solution = np.linalg.lstsq(gram, products, rcond=1e-9)[0].astype(np.float32)
        return solution[:-1], solution[-1] + self.mean_


class RandomHyperplanes(ProjectionHash):
    """Signs of random projections (Charikar 2002, "Similarity Estimation Techniques")."""

    def _learn(self, centred: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        shape = (centred.shape[1], self.n_bits)
        return rng.standard_normal(shape, dtype=np.float32), self._no_offset()


class PCAHash(ProjectionHash):
    """Signs of the leading principal components."""

    def _learn(
        self,
        centred: Matrix,
        rng: np.random.Generator,  # noqa: ARG002 - nothing here is left to chance
    ) -> tuple[Matrix, Matrix]:
        return self._components(centred, self.n_bits), self._no_offset()


class ITQ(ProjectionHash):
    """Principal components rotated towards the corners of a cube.

    Gong and Lazebnik 2011, "Iterative Quantization: A Procrustean Approach to Learning Binary
    Codes", section 2.2, with their 50 iterations.
    """

    iterations: ClassVar[int] = 50

    def _learn(self, centred: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
        components = self._components(centred, self.n_bits)
        projected = centred @ components
        square = rng.standard_normal((self.n_bits, self.n_bits), dtype=np.float32)
        rotation = np.linalg.qr(square)[0]
        for _ in range(self.iterations):
            corners = np.where(projected @ rotation > 0, np.float32(1), np.float32(-1))
            left, _, right = np.linalg.svd(corners.T @ projected)
            rotation = (left @ right).T
        return components @ rotation, self._no_offset()


class SpectralHashing(ProjectionHash):
    """Signs of the smoothest eigenfunctions of a uniform distribution on a box.

    Weiss, Torralba and Fergus 2008, "Spectral Hashing", section 3: along a principal component
    whose values reach from ``a`` to ``b``, the ``k``-th eigenfunction of the Laplacian is
    ``cos(k pi (x - a) / (b - a))``, and of all components' those of the smallest eigenvalues, which
    are those of the smallest ``k / (b - a)``, become bits. A long component gives several.
    """

    cosines: ClassVar[bool] = True

    def _learn(
        self,
        centred: Matrix,
        rng: np.random.Generator,  # noqa: ARG002 - nothing here is left to chance
    ) -> tuple[Matrix, Matrix]:
        components = self._components(centred, min(self.n_bits, centred.shape[1]))
        projected = centred @ components
        low, high = projected.min(axis=0), projected.max(axis=0)
        # A component that never varies has no eigenfunctions; with all of them flat, any will do.
        lengths = np.maximum(high - low, max(float((high - low).max()), 1e-30) * 1e-6)
        frequencies = np.pi * np.arange(1, self.n_bits + 1)[None, :] / lengths[:, None]
        smoothest = np.argsort(frequencies, axis=None, kind="stable")[: self.n_bits]
        chosen = smoothest // self.n_bits
        omega = frequencies.ravel()[smoothest].astype(np.float32)
        return components[:, chosen] * omega, -low[chosen] * omega
