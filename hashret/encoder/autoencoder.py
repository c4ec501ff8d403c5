"""The network: raw features -> logits -> bits -> raw features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from hashret.encoder.bottleneck import BinarizedSigmoid

MAX_INTENSITY = 255
RESOLUTION = 1e-7
SMALLEST = 1e-30


@dataclass(frozen=True)
class Scaling:
    """How raw features become network inputs: ``inputs = features * scale + offset``.

    Attributes:
        scale: one factor for all features, so that distances keep their proportions.
        offset: one shift a feature.
        bounded: the inputs lie in [0, 1] and are reconstructed by a sigmoid.
    """

    scale: float
    offset: tuple[float, ...]
    bounded: bool

    @classmethod
    def measure(cls, X: NDArray[np.float32]) -> Scaling:
        """Choose a scaling from training data, ``float32``, shape ``(n, d)``.

        Values in [0, 1] and whole numbers from 0 to 255 are taken for intensities and divided by
        their maximum. Anything else is centred and divided by its root mean square deviation.
        """
        low, high = float(X.min()), float(X.max())
        n_features = X.shape[1]
        if low >= 0 and (high <= 1 or (high <= MAX_INTENSITY and _whole(X))):
            return cls(1 / high if high > SMALLEST else 1.0, (0.0,) * n_features, bounded=True)
        mean = X.mean(axis=0, dtype=np.float64)
        spread = float(np.sqrt(X.var(axis=0, dtype=np.float64).mean()))
        # Below the resolution of float32 what varies is rounding.
        scale = 1 / spread if spread > RESOLUTION * max(-low, high) else 1.0
        return cls(scale, tuple((-mean * scale).tolist()), bounded=False)

    def apply(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Network inputs for raw features, ``float32``, shape ``(n, d)``."""
        return X * np.float32(self.scale) + np.asarray(self.offset, dtype=np.float32)

    def layer(self) -> keras.layers.Layer:
        """The scaling as a Keras layer."""
        return keras.layers.Rescaling(self.scale, list(self.offset), name="scale")

    def inverse_layer(self) -> keras.layers.Layer:
        """The way back as a Keras layer."""
        shift = [-value / self.scale for value in self.offset]
        return keras.layers.Rescaling(1 / self.scale, shift, name="unscale")


def _whole(X: NDArray[np.float32]) -> bool:
    return all(bool((row == np.rint(row)).all()) for row in X)


@dataclass(frozen=True)
class Autoencoder:
    """One network, seen as the parts that training, encoding and decoding need.

    Attributes:
        model: raw features -> raw features; the parts below share its weights.
        encoder: raw features -> logits, shape ``(n, n_bits)``.
        bottleneck: logits -> bits.
        inputs: raw features -> scaled features, what the reconstruction is compared with.
        reconstruction: bits -> scaled features, before the sigmoid where the inputs are bounded.
        bounded: the scaled features lie in [0, 1].
    """

    model: keras.Model
    encoder: keras.Model
    bottleneck: BinarizedSigmoid
    inputs: keras.layers.Layer
    reconstruction: keras.Model
    bounded: bool


def build_autoencoder(
    n_features: int, n_bits: int, hidden: Sequence[int], scaling: Scaling, seed: int
) -> Autoencoder:
    """Build an untrained autoencoder.

    The logits pass through a BatchNormalization without scale and centre: it keeps every bit near
    half ones, without which a sigmoid bottleneck collapses onto the mean item.

    Args:
        n_features: width of the data.
        n_bits: width of the bottleneck.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        scaling: from raw features to network inputs.
        seed: initial weights depend on nothing else.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 * len(hidden) + 2).tolist())

    def dense(units: int, name: str, activation: str | None = None) -> keras.layers.Dense:
        initializer = keras.initializers.GlorotUniform(seed=next(seeds))
        return keras.layers.Dense(units, activation, kernel_initializer=initializer, name=name)

    features = keras.Input((n_features,), name="features")
    scale = scaling.layer()
    hidden_state = scale(features)
    for depth, units in enumerate(hidden):
        hidden_state = dense(units, f"encode_{depth}", "relu")(hidden_state)
    logits = keras.layers.BatchNormalization(
        momentum=0.95, scale=False, center=False, name="logits"
    )(dense(n_bits, "project")(hidden_state))
    encoder = keras.Model(features, logits, name="encoder")

    bits = keras.Input((n_bits,), name="bits")
    hidden_state = bits
    for depth, units in enumerate(reversed(hidden)):
        hidden_state = dense(units, f"decode_{depth}", "relu")(hidden_state)
    scaled = dense(n_features, "reconstruct")(hidden_state)
    reconstruction = keras.Model(bits, scaled, name="reconstruction")
    if scaling.bounded:
        scaled = keras.layers.Activation("sigmoid", name="bound")(scaled)
    decoder = keras.Model(bits, scaling.inverse_layer()(scaled), name="decoder")

    bottleneck = BinarizedSigmoid(name="bottleneck")
    model = keras.Model(features, decoder(bottleneck(encoder(features))), name="autoencoder")
    return Autoencoder(model, encoder, bottleneck, scale, reconstruction, scaling.bounded)
