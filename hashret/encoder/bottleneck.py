"""The layers in which an autoencoder's real-valued logits become bits.

When a network encodes, a logit above 0 is a 1 and any other a 0, whatever the layer. They differ
in training: in what passes forwards to the decoder, and in the gradient that comes back. Logits
come from a BatchNormalization and so have about unit variance; the slopes are chosen for that.
"""

from __future__ import annotations

from typing import Any

import keras

ANNEALED_SHARE = 0.8
"""The share of the training after which an annealed slope has reached its end."""


class Bottleneck(keras.layers.Layer):
    """Hard bits when encoding; a subclass says what passes in training.

    Args:
        slope: steepness of the sigmoid that stands for a bit in training.
        **kwargs: Keras layer arguments.

    Raises:
        ValueError: ``slope`` is not positive.
    """

    def __init__(self, slope: float, **kwargs: Any) -> None:
        """Check and keep the slope."""
        super().__init__(**kwargs)
        if not slope > 0:
            raise ValueError(f"slope must be positive, not {slope!r}.")
        self.slope = slope
        self.supports_masking = True

    def call(self, logits: Any, training: bool | None = None) -> Any:
        """Return floats from 0 to 1 of the shape of ``logits``, and zeros and ones at rest."""
        return self.relaxed(logits) if training else _hard(logits)

    def relaxed(self, logits: Any) -> Any:
        """What passes in training; every kind of bottleneck says what."""
        raise NotImplementedError

    def set_training_share(self, share: Any) -> None:
        """Hear how much of the training is done, from 0 to 1."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape does not change."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments that build this layer again."""
        return {**super().get_config(), "slope": self.slope}


@keras.saving.register_keras_serializable(package="hashret")
class BinarizedSigmoid(Bottleneck):
    """Hard bits forwards, the gradient of a sigmoid backwards.

    A logit above 0 gives 1.0, any other 0.0. The gradient is that of ``sigmoid(slope * logit)``:
    the straight-through estimator of Bengio, Léonard and Courville (2013), "Estimating or
    Propagating Gradients Through Stochastic Neurons".
    """

    def __init__(self, slope: float = 2.0, **kwargs: Any) -> None:
        """See :class:`Bottleneck`."""
        super().__init__(slope, **kwargs)

    def call(self, logits: Any, training: bool | None = None) -> Any:  # noqa: ARG002 - Keras's
        """Return float zeros and ones of the shape of ``logits``."""
        return self.relaxed(logits)

    def relaxed(self, logits: Any) -> Any:
        """Hard bits with the gradient of the sigmoid."""
        return _straight_through(_hard(logits), keras.ops.sigmoid(self.slope * logits))


class _SeededBottleneck(Bottleneck):
    """A bottleneck that draws bits at random in training."""

    def __init__(self, slope: float, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(slope, **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="hashret")
class BernoulliBits(_SeededBottleneck):
    """Bits drawn with probability ``sigmoid(slope * logit)``, whose gradient passes backwards.

    The stochastic neuron with a straight-through gradient of Bengio, Léonard and Courville (2013),
    section 4. Sampling keeps near items' codes near: a bit that often flips may carry little.
    """

    def __init__(self, slope: float = 2.0, seed: int = 0, **kwargs: Any) -> None:
        """See :class:`Bottleneck`; ``seed`` starts the draws."""
        super().__init__(slope, seed, **kwargs)

    def relaxed(self, logits: Any) -> Any:
        """Sampled bits with the gradient of their probabilities."""
        ones = keras.ops.sigmoid(self.slope * logits)
        uniform = keras.random.uniform(keras.ops.shape(ones), seed=self.seed_generator)
        return _straight_through(keras.ops.cast(uniform < ones, ones.dtype), ones)


@keras.saving.register_keras_serializable(package="hashret")
class NoisySigmoid(_SeededBottleneck):
    """A sigmoid whose input is disturbed by Gaussian noise, which drives it to 0 or 1.

    Salakhutdinov and Hinton (2009), "Semantic Hashing", section 3.2: to carry information through
    noise of standard deviation 4 an input must become large, so the bits become binary. There the
    inputs could grow; here they have unit variance, and ``slope`` 8 makes them twice the noise.
    """

    def __init__(
        self, slope: float = 8.0, noise: float = 4.0, seed: int = 0, **kwargs: Any
    ) -> None:
        """See :class:`Bottleneck`; ``noise`` is a standard deviation, ``seed`` starts the draws."""
        super().__init__(slope, seed, **kwargs)
        self.noise = noise

    def relaxed(self, logits: Any) -> Any:
        """Real values from 0 to 1."""
        shape = keras.ops.shape(logits)
        noise = keras.random.normal(shape, stddev=self.noise, seed=self.seed_generator)
        return keras.ops.sigmoid(self.slope * logits + noise)

    def get_config(self) -> dict[str, Any]:
        """Arguments that build this layer again."""
        return {**super().get_config(), "noise": self.noise}


@keras.saving.register_keras_serializable(package="hashret")
class AnnealedSigmoid(Bottleneck):
    """A sigmoid whose slope grows during training from 1 to ``slope``, until it is a step.

    The continuation of Cao, Long, Wang and Yu (2017), "HashNet: Deep Learning to Hash by
    Continuation", section 3.2. The slope grows geometrically and is reached at four fifths of the
    training, which leaves the decoder time to learn what the final bits mean.
    """

    def __init__(self, slope: float = 20.0, **kwargs: Any) -> None:
        """See :class:`Bottleneck`; here ``slope`` is the last one."""
        super().__init__(slope, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002 - Keras's
        """Start with slope 1."""
        self.present_slope = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="slope"
        )

    def set_training_share(self, share: Any) -> None:
        """Steepen the sigmoid."""
        self.present_slope.assign(self.slope ** keras.ops.minimum(share / ANNEALED_SHARE, 1.0))

    def relaxed(self, logits: Any) -> Any:
        """Real values from 0 to 1, nearer to 0 and 1 as training goes on."""
        return keras.ops.sigmoid(self.present_slope * logits)


def build_bottleneck(kind: str, seed: int) -> keras.layers.Layer:
    """The layer for a name of ``SemanticHasher``'s ``bottleneck``; ``"linear"`` lets all pass."""
    if kind == "linear":
        return keras.layers.Activation("linear", name="bottleneck")
    if kind == "straight-through":
        return BinarizedSigmoid(name="bottleneck")
    if kind == "gaussian":
        return NoisySigmoid(seed=seed, name="bottleneck")
    if kind == "annealed":
        return AnnealedSigmoid(name="bottleneck")
    # The code of a variational autoencoder is drawn in the same way; what differs is its loss.
    return BernoulliBits(seed=seed, name="bottleneck")


def _hard(logits: Any) -> Any:
    return keras.ops.cast(logits > 0, logits.dtype)


def _straight_through(forwards: Any, backwards: Any) -> Any:
    # Written this way round the value is exactly the first: the bracket is exactly zero.
    return forwards + (backwards - keras.ops.stop_gradient(backwards))
