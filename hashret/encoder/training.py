"""Training an autoencoder to reconstruct items and to give neighbours similar codes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hashret.encoder.autoencoder import Autoencoder
from hashret.encoder.neighbours import NeighbourGraph
from hashret.encoder.progress import TrainingProgress
from hashret.errors import HashretError

WARMUP_STEPS = 100
MAX_VALIDATION_ROWS = 2000
MIN_VALIDATION_ROWS = 16
REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; the fields are the parameters of ``SemanticHasher`` of the same name."""

    epochs: int
    batch_size: int
    learning_rate: float
    reconstruction_weight: float
    neighbour_weight: float
    mu: float
    walk_length: int
    validation_fraction: float
    patience: int


class PairLoss:
    """Reconstruction plus the spectral contrastive loss of pairs of neighbours.

    The second term is that of HaoChen, Wei, Gaidon and Ma (2021), "Provable Guarantees for
    Self-Supervised Deep Learning with Spectral Contrastive Loss", section 3.2, on codes of -1 and
    +1 of squared length ``mu``: a neighbour's code is drawn near, those of the other pairs of the
    batch are made orthogonal. A small ``mu`` gathers whole classes in a few codes, a large one
    keeps items apart.
    """

    def __init__(self, network: Autoencoder, settings: TrainingSettings) -> None:
        """Keep the network whose loss this is, and the weights of its terms."""
        self._network = network
        self._settings = settings

    def __call__(self, anchors: tf.Tensor, positives: tf.Tensor, training: bool) -> tf.Tensor:
        """The loss of a batch of pairs of raw features, two tensors of shape ``(m, d)``."""
        network, settings = self._network, self._settings
        logits = network.encoder(tf.concat([anchors, positives], 0), training=training)
        bits = network.bottleneck(logits)
        m = tf.shape(anchors)[0]
        return settings.reconstruction_weight * self._reconstruction(
            network.inputs(anchors), bits[:m]
        ) + settings.neighbour_weight * self._contrast(bits[:m], bits[m:])

    def _reconstruction(self, inputs: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
        outputs = self._network.reconstruction(bits)
        if self._network.bounded:
            return tf.reduce_mean(
                tf.nn.sigmoid_cross_entropy_with_logits(labels=inputs, logits=outputs)
            )
        return tf.reduce_mean(tf.square(outputs - inputs))

    def _contrast(self, bits: tf.Tensor, neighbour_bits: tf.Tensor) -> tf.Tensor:
        n_bits = bits.shape[1]
        products = tf.matmul(2 * bits - 1, 2 * neighbour_bits - 1, transpose_b=True)
        products *= self._settings.mu / n_bits
        paired = tf.linalg.diag_part(products)
        m = tf.cast(tf.shape(bits)[0], tf.float32)
        others = tf.reduce_sum(tf.square(products)) - tf.reduce_sum(tf.square(paired))
        return others / tf.maximum(m * (m - 1), 1) - 2 * tf.reduce_mean(paired)


def train(
    network: Autoencoder,
    X: NDArray[np.float32],
    graph: NeighbourGraph,
    settings: TrainingSettings,
    rng: np.random.Generator,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> int:
    """Train ``network`` in place and leave it with its best weights.

    Adam with a warm-up of 100 steps and a cosine decay to zero. Each pass pairs every row anew
    with the end of a random walk on ``graph``. Where there are enough rows, some are held out;
    the pass with the lowest loss on them gives the weights, and training ends early when
    ``settings.patience`` passes bring no improvement.

    Args:
        network: as built, changed in place.
        X: raw features, ``float32``, shape ``(n, d)``.
        graph: neighbours among the rows of ``X``.
        settings: how to train.
        rng: source of chance.
        progress: called a few times a second and after every pass.

    Returns:
        The passes made.
    """
    shuffled = rng.permutation(len(X))
    n_held_out = min(int(len(X) * settings.validation_fraction), MAX_VALIDATION_ROWS)
    if n_held_out < MIN_VALIDATION_ROWS:
        n_held_out = 0
    held_out, rows = shuffled[:n_held_out], shuffled[n_held_out:]
    held_out_pairs = graph.walk(held_out, settings.walk_length, rng)

    batch_size = min(settings.batch_size, len(rows))
    steps_per_epoch = len(rows) // batch_size
    steps = steps_per_epoch * settings.epochs
    pair_loss = PairLoss(network, settings)
    take_step = _training_step(network, pair_loss, _optimizer(settings.learning_rate, steps))
    held_out_loss = tf.function(lambda a, b: pair_loss(a, b, training=False))

    validation_loss: float | None = None
    best_loss, best_epoch, best_weights = math.inf, 0, network.model.get_weights()
    start = reported = time.perf_counter()
    step, first_seconds = 0, 0.0
    for epoch in range(1, settings.epochs + 1):
        order = rng.permutation(rows)
        pairs = graph.walk(order, settings.walk_length, rng)
        for at in range(0, steps_per_epoch * batch_size, batch_size):
            batch = slice(at, at + batch_size)
            loss = take_step(X[order[batch]], X[pairs[batch]])
            step += 1
            if step == 1:
                first_seconds = time.perf_counter() - start
            last = at + batch_size == steps_per_epoch * batch_size
            if last and n_held_out:
                validation_loss = float(held_out_loss(X[held_out], X[held_out_pairs]))
            now = time.perf_counter()
            if progress and (last or now - reported > REPORT_SECONDS):
                reported, seconds = now, now - start
                # The first step compiles, so it tells little about those to come.
                left = (seconds - first_seconds) / max(step - 1, 1) * (steps - step)
                progress(
                    TrainingProgress(
                        epoch, settings.epochs, step, steps, float(loss), validation_loss,
                        seconds, left,
                    )
                )  # fmt: skip
        if not math.isfinite(loss):
            raise HashretError(
                f"Learning diverged in pass {epoch}: the loss is {float(loss)}. Lower "
                "learning_rate, or rescale the data."
            )
        if validation_loss is None:
            continue
        if validation_loss < best_loss:
            best_loss, best_epoch = validation_loss, epoch
            best_weights = network.model.get_weights()
        elif epoch - best_epoch >= settings.patience:
            break
    if validation_loss is not None:
        network.model.set_weights(best_weights)
    return epoch


def _optimizer(learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    warmup = min(WARMUP_STEPS, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else learning_rate,
        max(steps - warmup, 1),
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return keras.optimizers.Adam(schedule)


def _training_step(
    network: Autoencoder, pair_loss: PairLoss, optimizer: keras.optimizers.Optimizer
) -> Callable[[Any, Any], tf.Tensor]:
    weights = network.model.trainable_weights
    optimizer.build(weights)
    rows = tf.TensorSpec((None, network.model.input_shape[1]), tf.float32)

    @tf.function(input_signature=[rows, rows], autograph=False)
    def step(anchors: tf.Tensor, positives: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = pair_loss(anchors, positives, training=True)
        variables = [weight.value for weight in weights]
        optimizer.apply(tape.gradient(loss, variables), weights)
        return loss

    return step
