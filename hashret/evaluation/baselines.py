"""Classical hashing without labels, to compare with: each fits and transforms like the hasher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes, check_n_bits
from hashret.errors import InputError, NotFittedError


class _LinearHash(ABC):
    """Bits are the signs of linear projections of centred data.

    Args:
        n_bits: length of a code, a multiple of 8.
        random_state: seed of what is drawn at random; None for chance.
    """

    def __init__(self, n_bits: int = 64, *, random_state: int | None = None) -> None:
        """Store the parameters; ``fit`` checks them."""
        self.n_bits = n_bits
        self.random_state = random_state

    def fit(self, X: NDArray[np.float32], y: object = None) -> Self:  # noqa: ARG002 - pipelines pass it
        """Learn from ``float32`` data of shape ``(n, d)``.

        Raises:
            UsageError: ``n_bits`` is no possible code length.
            InputError: the data are no matrix, or too narrow for so many bits.
        """
        check_n_bits(self.n_bits)
        if X.ndim != 2 or not len(X):
            raise InputError(f"Expected a matrix of shape (n, d), got shape {X.shape}.")
        self.mean_ = X.mean(axis=0)
        rng = np.random.default_rng(self.random_state)
        self.projection_ = self._learn(X - self.mean_, rng)
        return self

    def transform(self, X: NDArray[np.float32]) -> Codes:
        """Encode ``float32`` data of shape ``(n, d)`` as codes of shape ``(n, n_bits / 8)``.

        Raises:
            NotFittedError: ``fit`` was not called.
            InputError: another width than the data learned from.
        """
        if not hasattr(self, "projection_"):
            raise NotFittedError(f"This {type(self).__name__} has not learned yet; call fit.")
        if X.ndim != 2 or X.shape[1] != len(self.mean_):
            raise InputError(f"Expected shape (n, {len(self.mean_)}), got {X.shape}.")
        return np.packbits((X - self.mean_) @ self.projection_ > 0, axis=1)

    @abstractmethod
    def _learn(self, centred: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """The projection, ``(d, n_bits)``, of data around their mean."""

    def _components(self, centred: NDArray[np.float32]) -> NDArray[np.float32]:
        """The leading ``n_bits`` eigenvectors of the covariance, as columns."""
        if centred.shape[1] < self.n_bits:
            raise InputError(
                f"{self.n_bits} principal components need as many features; got "
                f"{centred.shape[1]}. Ask for fewer bits."
            )
        vectors = np.linalg.eigh(centred.T @ centred)[1]
        return np.ascontiguousarray(vectors[:, : -self.n_bits - 1 : -1])


class RandomHyperplanes(_LinearHash):
    """Signs of random projections (Charikar 2002, "Similarity Estimation Techniques")."""

    def _learn(self, centred: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        return rng.standard_normal((centred.shape[1], self.n_bits), dtype=np.float32)


class PCAHash(_LinearHash):
    """Signs of the leading principal components."""

    def _learn(
        self,
        centred: NDArray[np.float32],
        rng: np.random.Generator,  # noqa: ARG002 - nothing here is left to chance
    ) -> NDArray[np.float32]:
        return self._components(centred)


class ITQ(_LinearHash):
    """Principal components rotated towards the corners of a cube.

    Gong and Lazebnik 2011, "Iterative Quantization: A Procrustean Approach to Learning Binary
    Codes", section 2.2, with their 50 iterations.
    """

    iterations = 50

    def _learn(self, centred: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        components = self._components(centred)
        projected = centred @ components
        square = rng.standard_normal((self.n_bits, self.n_bits), dtype=np.float32)
        rotation = np.linalg.qr(square)[0]
        for _ in range(self.iterations):
            corners = np.where(projected @ rotation > 0, np.float32(1), np.float32(-1))
            left, _, right = np.linalg.svd(corners.T @ projected)
            rotation = (left @ right).T
        return components @ rotation
