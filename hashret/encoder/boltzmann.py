"""The restricted Boltzmann machine, one layer of the original semantic hashing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOMENTUM = (0.5, 0.9)
WEIGHT_DECAY = 2e-4
RATE = 0.1
GAUSSIAN_RATE = 0.005
FIRST_SPREAD = 0.01
QUIET_SHARE = 0.1


class BoltzmannMachine:
    """Visible and hidden units that learn each other by contrastive divergence.

    Hinton (2002), "Training Products of Experts by Minimizing Contrastive Divergence", with one
    step of Gibbs sampling; momentum, weight decay and the use of probabilities as in Hinton (2010),
    "A Practical Guide to Training Restricted Boltzmann Machines".

    Args:
        n_visible: width of the data.
        n_hidden: number of hidden units.
        gaussian: the visible units are real numbers of about unit variance, not probabilities.
        linear: the hidden units are real numbers with noise of unit variance, not binary, as in
            the code layer of Hinton and Salakhutdinov (2006), "Reducing the Dimensionality of Data
            with Neural Networks".
        rng: source of randomness.

    Attributes:
        weights: ``float32``, shape ``(n_visible, n_hidden)``.
        visible_bias: shape ``(n_visible,)``.
        hidden_bias: shape ``(n_hidden,)``.
    """

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        *,
        gaussian: bool,
        linear: bool = False,
        rng: np.random.Generator,
    ) -> None:
        """Start with small random weights."""
        self.weights = (FIRST_SPREAD * rng.standard_normal((n_visible, n_hidden))).astype(
            np.float32
        )
        self.visible_bias = np.zeros(n_visible, np.float32)
        self.hidden_bias = np.zeros(n_hidden, np.float32)
        self._gaussian = gaussian
        self._linear = linear
        self._rng = rng
        self._velocities = [np.zeros_like(w) for w in self._parameters]

    @property
    def _parameters(self) -> list[NDArray[np.float32]]:
        return [self.weights, self.visible_bias, self.hidden_bias]

    def hidden(self, visible: NDArray[np.float32]) -> NDArray[np.float32]:
        """Means of the hidden units, shape ``(m, n_hidden)``: probabilities if they are binary."""
        means = visible @ self.weights + self.hidden_bias
        return means if self._linear else _sigmoid(means)

    def visible(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Means of the visible units, shape ``(m, n_visible)``."""
        means = hidden @ self.weights.T + self.visible_bias
        return means if self._gaussian else _sigmoid(means)

    def learn(self, visible: NDArray[np.float32], share: float) -> float:
        """Take one step of contrastive divergence.

        Args:
            visible: a batch, shape ``(m, n_visible)``.
            share: how much of the learning is done, from 0 to 1; momentum grows after a tenth.

        Returns:
            The mean squared error of the batch drawn again from its hidden units.
        """
        m = len(visible)
        hidden = self.hidden(visible)
        dreamt = self.visible(self._draw(hidden))
        dreamt_hidden = self.hidden(dreamt)
        gradients = [
            (visible.T @ hidden - dreamt.T @ dreamt_hidden) / m - WEIGHT_DECAY * self.weights,
            (visible - dreamt).mean(axis=0),
            (hidden - dreamt_hidden).mean(axis=0),
        ]
        momentum = np.float32(MOMENTUM[share >= QUIET_SHARE])
        rate = np.float32(GAUSSIAN_RATE if self._gaussian or self._linear else RATE)
        for parameter, velocity, gradient in zip(
            self._parameters, self._velocities, gradients, strict=True
        ):
            velocity *= momentum
            velocity += rate * gradient
            parameter += velocity
        return float(np.square(visible - dreamt).mean())

    def _draw(self, means: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._linear:
            return means + self._rng.standard_normal(means.shape, dtype=np.float32)
        return (self._rng.random(means.shape, dtype=np.float32) < means).astype(np.float32)


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return (0.5 + 0.5 * np.tanh(0.5 * x)).astype(np.float32)
