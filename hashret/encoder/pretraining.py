"""Good first weights, layer by layer, before the whole network is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hashret.encoder.autoencoder import Autoencoder
from hashret.encoder.boltzmann import BoltzmannMachine
from hashret.encoder.optimizers import build_optimizer
from hashret.encoder.recipe import EPOCH_RANGE, Recipe
from hashret.encoder.tied import TransposedDense
from hashret.encoder.training_progress import ProgressReporter, TrainingProgress
from hashret.errors import HashretError

STEPS_PER_LAYER = 1000


def pretrain(
    network: Autoencoder,
    X: NDArray[np.float32],
    recipe: Recipe,
    rng: np.random.Generator,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> None:
    """Give a dense or tied network its first weights, in at most 1,000 steps for each layer.

    - ``"stacked"``: each layer of the encoder and the one of the decoder that undoes it are trained
      as a small autoencoder of what the layers below make of the items: Bengio, Lamblin, Popovici
      and Larochelle (2007), "Greedy Layer-Wise Training of Deep Networks", section 4.
    - ``"rbm"``: each layer is trained as a restricted Boltzmann machine on the probabilities of the
      one below, and its weights unrolled into encoder and decoder: Hinton and Salakhutdinov
      (2006), "Reducing the Dimensionality of Data with Neural Networks".

    Args:
        network: as built, changed in place.
        X: raw features, ``float32``, shape ``(n, d)``.
        recipe: ``pretraining``, ``batch_size``, ``optimizer`` and ``learning_rate`` count.
        rng: source of randomness.
        progress: called a few times a second and after every layer.

    Raises:
        HashretError: a restricted Boltzmann machine diverged.
    """
    batches = _Batches(len(X), recipe.batch_size, rng)
    n_layers = len(network.stages)
    report = ProgressReporter(progress, n_layers, n_layers * batches.n_steps, "pretraining")
    if recipe.pretraining == "stacked":
        _pretrain_stacked(network, X, recipe, batches, report)
    else:
        _pretrain_machines(network, X, recipe, rng, batches, report)


def _pretrain_stacked(
    network: Autoencoder,
    X: NDArray[np.float32],
    recipe: Recipe,
    batches: _Batches,
    report: ProgressReporter,
) -> None:
    below: list[keras.layers.Layer] = []
    for depth, (encode, decode) in enumerate(network.stages):
        if depth + 1 < len(network.stages):
            code: list[Callable[..., Any]] = [encode]
        elif recipe.bottleneck == "linear":
            code = [encode]
        else:
            # Normalised as in the whole network, whose running means are learned along with it.
            code = [encode, network.body.get_layer("logits"), network.bottleneck]
        take_step = _stage_step(network, below, code, decode, recipe, batches.n_steps)
        for rows in batches:
            loss = take_step(X[rows])
            report.step(depth + 1, loss)
        report.epoch(depth + 1, loss)
        below.append(encode)


def _stage_step(
    network: Autoencoder,
    below: list[keras.layers.Layer],
    code: list[Callable[..., Any]],
    decode: keras.layers.Layer,
    recipe: Recipe,
    n_steps: int,
) -> Callable[[Any], tf.Tensor]:
    outermost = not below
    layers, below = [code[0], decode], list(below)
    weights = list({id(w): w for layer in layers for w in layer.trainable_weights}.values())
    optimizer = build_optimizer(recipe.optimizer, recipe.learning_rate, n_steps)
    optimizer.build(weights)

    @tf.function(
        input_signature=[tf.TensorSpec((None, network.model.input_shape[1]), tf.float32)],
        autograph=False,
    )
    def step(features: tf.Tensor) -> tf.Tensor:
        inputs = state = network.inputs(features)
        for layer in below:
            inputs = state = layer(state)
        with tf.GradientTape() as tape:
            for part in code:
                state = part(state, training=True) if part is not code[0] else part(state)
            outputs = decode(state)
            if outermost:
                targets = network.scaling.targets(features, inputs)
                loss = network.scaling.error(targets, outputs)
            else:
                loss = tf.reduce_mean(tf.square(outputs - inputs))
        variables = [weight.value for weight in weights]
        optimizer.apply(tape.gradient(loss, variables), weights)
        return loss

    return step


def _pretrain_machines(
    network: Autoencoder,
    X: NDArray[np.float32],
    recipe: Recipe,
    rng: np.random.Generator,
    batches: _Batches,
    report: ProgressReporter,
) -> None:
    machines: list[BoltzmannMachine] = []
    for depth, (encode, decode) in enumerate(network.stages):
        n_visible, n_hidden = encode.kernel.shape
        gaussian = depth == 0 and network.scaling.loss != "binary"
        linear = recipe.bottleneck == "linear" and depth + 1 == len(network.stages)
        machine = BoltzmannMachine(n_visible, n_hidden, gaussian=gaussian, linear=linear, rng=rng)
        for number, rows in enumerate(batches):
            visible = network.scaling.apply(X[rows])
            for lower in machines:
                visible = lower.hidden(visible)
            error = machine.learn(visible, number / batches.n_steps)
            report.step(depth + 1, error)
        report.epoch(depth + 1, error)
        if not np.isfinite(machine.weights).all():
            raise HashretError(
                f"The restricted Boltzmann machine of layer {depth} diverged; standardise the "
                "data, or use pretraining='stacked'."
            )
        encode.kernel.assign(machine.weights)
        encode.bias.assign(machine.hidden_bias)
        if not isinstance(decode, TransposedDense):  # which has the encoder's kernel
            decode.kernel.assign(machine.weights.T)
        decode.bias.assign(machine.visible_bias)
        machines.append(machine)


class _Batches:
    """The rows of 1,000 batches, or of 200 passes where that is less; drawn anew each time."""

    def __init__(self, n_rows: int, batch_size: int, rng: np.random.Generator) -> None:
        self._n_rows, self._size, self._rng = n_rows, min(batch_size, n_rows), rng
        self.n_steps = min(STEPS_PER_LAYER, EPOCH_RANGE[1] * (n_rows // self._size))

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return islice(self._endless(), self.n_steps)

    def _endless(self) -> Iterator[NDArray[np.int64]]:
        while True:
            order = self._rng.permutation(self._n_rows)
            for at in range(0, self._n_rows - self._size + 1, self._size):
                yield order[at : at + self._size]
