"""A decoder's layer that shares the weights of the encoder's layer it undoes."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="hashret")
class TransposedDense(keras.layers.Layer):
    """A dense layer whose kernel is the transpose of another one's; the bias is its own.

    Read from a file it has a kernel of its own, equal to the other's: what it computes is the same,
    but trained further the two would part.

    Args:
        units: width of its output, the input width of the layer it undoes.
        activation: name of a Keras activation; None for none.
        source: the built dense layer whose kernel is used.
        **kwargs: Keras layer arguments.
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        source: keras.layers.Dense | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the layer to undo; weights come when built."""
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        # Behind a function, or Keras would take the layer for a part of this one.
        self._source = (lambda: source) if source is not None else None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Take the other layer's kernel, or make one to be read from a file."""
        if self._source is not None:
            self.kernel = self._source().kernel
        else:
            self.kernel = self.add_weight(shape=(self.units, input_shape[-1]), name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Map ``(n, m)`` to ``(n, units)``."""
        outputs = keras.ops.matmul(inputs, keras.ops.transpose(self.kernel)) + self.bias
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """``(..., units)``."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Arguments that build this layer again, with a kernel of its own."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
        }
