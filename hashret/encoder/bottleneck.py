"""The layer in which an autoencoder's real-valued logits become bits."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="hashret")
class BinarizedSigmoid(keras.layers.Layer):
    """Hard bits forwards, the gradient of a sigmoid backwards.

    A logit above 0 gives 1.0, any other 0.0. The gradient is that of ``sigmoid(slope * logit)``:
    the straight-through estimator of Bengio, Léonard and Courville (2013), "Estimating or
    Propagating Gradients Through Stochastic Neurons".

    Args:
        slope: steepness of the sigmoid whose gradient is used.
        **kwargs: Keras layer arguments.

    Raises:
        ValueError: ``slope`` is not positive.
    """

    def __init__(self, slope: float = 2.0, **kwargs: Any) -> None:
        """Check and keep the slope."""
        super().__init__(**kwargs)
        if not slope > 0:
            raise ValueError(f"slope must be positive, not {slope!r}.")
        self.slope = slope
        self.supports_masking = True

    def call(self, logits: Any) -> Any:
        """Return float zeros and ones of the shape of ``logits``."""
        soft = keras.ops.sigmoid(self.slope * logits)
        hard = keras.ops.cast(logits > 0, soft.dtype)
        # Written this way round the value is exactly 0 or 1: the bracket is exactly zero.
        return hard + (soft - keras.ops.stop_gradient(soft))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape does not change."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments that build this layer again."""
        return {**super().get_config(), "slope": self.slope}
