"""From raw features to what a network reads and reconstructs, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hashret.errors import InputError

MAX_INTENSITY = 255
RESOLUTION = 1e-7
SMALLEST = 1e-30
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Scaling:
    """How raw features become network inputs, and how the reconstruction is compared with them.

    ``inputs = features * scale + offset``, where a row of counts is first replaced by its
    ``log(1 + count)`` at length 1: texts are alike by their words, however long they are.

    Attributes:
        scale: one factor for all features, so that distances keep their proportions.
        offset: one shift a feature.
        loss: ``"binary"``: the inputs lie in [0, 1] and are reconstructed by a sigmoid under
            binary cross-entropy; ``"squared"``: by a linear layer under the mean squared error;
            ``"multinomial"``: the features are counts, and their shares of a row's sum are
            reconstructed by a softmax under cross-entropy.
    """

    scale: float
    offset: tuple[float, ...]
    loss: str

    @classmethod
    def measure(cls, X: NDArray[np.float32], loss: str = "auto") -> Scaling:
        """Choose a scaling from training data, ``float32``, shape ``(n, d)``.

        Values in [0, 1] and whole numbers from 0 to 255 are taken for intensities and divided by
        their maximum. Anything else is centred and divided by its root mean square deviation.

        Raises:
            InputError: the data cannot be reconstructed under the ``loss`` that was asked for.
        """
        low, high = float(X.min()), float(X.max())
        bounded = low >= 0 and (high <= 1 or (high <= MAX_INTENSITY and _whole(X)))
        if loss == "binary" and not bounded:
            raise InputError(
                "reconstruction_loss='binary' needs values from 0 to 1, or whole numbers from 0 to "
                f"{MAX_INTENSITY}; these go from {low:g} to {high:g}. Use 'squared', or rescale."
            )
        if loss == "multinomial" and low < 0:
            raise InputError(
                "reconstruction_loss='multinomial' needs counts, none of them negative; the least "
                f"is {low:g}. Use 'squared'."
            )
        if bounded and loss in ("auto", "binary"):
            scale = 1 / high if high > SMALLEST else 1.0
            return cls(scale, (0.0,) * X.shape[1], "binary")
        if loss == "multinomial":
            low, high = 0.0, 1.0
        mean, spread = _centre(X, _damped if loss == "multinomial" else np.asarray)
        # Below the resolution of float32 what varies is rounding.
        scale = 1 / spread if spread > RESOLUTION * max(-low, high) else 1.0
        offset = tuple((-mean * scale).tolist())
        return cls(scale, offset, "multinomial" if loss == "multinomial" else "squared")

    def apply(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Network inputs for raw features, ``float32``, shape ``(n, d)``."""
        if self.loss == "multinomial":
            X = _damped(X)
        return X * np.float32(self.scale) + np.asarray(self.offset, dtype=np.float32)

    def inputs(self, features: Any) -> Any:
        """Network inputs for a tensor of raw features."""
        if self.loss == "multinomial":
            # Written with log, which LiteRT has; log1p it has not.
            logs = keras.ops.log(keras.ops.relu(features) + 1.0)
            squares = keras.ops.sum(keras.ops.square(logs), axis=-1, keepdims=True)
            features = logs / keras.ops.sqrt(keras.ops.maximum(squares, SMALLEST))
        return keras.layers.Rescaling(self.scale, list(self.offset), name="scale")(features)

    def targets(self, features: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        """What the reconstruction is compared with: the inputs, or the shares of counts."""
        if self.loss != "multinomial":
            return inputs
        return tf.math.divide_no_nan(features, tf.reduce_sum(features, axis=1, keepdims=True))

    def error(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The mean error of linear outputs, a scalar: a feature's, or an item's for counts."""
        if self.loss == "binary":
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=outputs)
        elif self.loss == "multinomial":
            losses = -tf.reduce_sum(targets * tf.nn.log_softmax(outputs), axis=1)
        else:
            losses = tf.square(outputs - targets)
        return tf.reduce_mean(losses)

    def features(self, outputs: Any) -> Any:
        """Raw features, or shares of counts, for a tensor of the network's linear outputs."""
        if self.loss == "multinomial":
            return keras.layers.Activation("softmax", name="shares")(outputs)
        if self.loss == "binary":
            outputs = keras.layers.Activation("sigmoid", name="bound")(outputs)
        shift = [-value / self.scale for value in self.offset]
        return keras.layers.Rescaling(1 / self.scale, shift, name="unscale")(outputs)


def _damped(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """``log(1 + count)``, each row at length 1; a row of nothing stays."""
    logs = np.log1p(np.maximum(counts, 0))
    squares = np.square(logs).sum(axis=1, keepdims=True)
    rows: NDArray[np.float32] = logs / np.sqrt(np.maximum(squares, np.float32(SMALLEST)))
    return rows


def _centre(
    X: NDArray[np.float32], change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> tuple[NDArray[np.float64], float]:
    """The mean of changed rows, and their root mean square deviation; blocks, to copy no more."""
    blocks = [slice(at, at + BLOCK_ROWS) for at in range(0, len(X), BLOCK_ROWS)]
    mean = sum(change(X[rows]).sum(axis=0, dtype=np.float64) for rows in blocks) / len(X)
    squares = sum(float(np.square(change(X[rows]) - mean).sum()) for rows in blocks)
    return mean, math.sqrt(squares / X.size)


def _whole(X: NDArray[np.float32]) -> bool:
    return all(bool((row == np.rint(row)).all()) for row in X)
