"""Training an autoencoder to reconstruct items and to give neighbours similar codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hashret.encoder.autoencoder import Autoencoder
from hashret.encoder.bottleneck import Bottleneck
from hashret.encoder.losses import Loss
from hashret.encoder.neighbours import NeighbourGraph
from hashret.encoder.optimizers import build_optimizer
from hashret.encoder.recipe import Recipe
from hashret.encoder.tensorboard import N_IMAGES, TensorBoardLog
from hashret.encoder.training_progress import ProgressReporter, TrainingProgress
from hashret.errors import HashretError

MAX_VALIDATION_ROWS = 2000
MIN_VALIDATION_ROWS = 16

History = list[dict[str, Any]]
"""What happened in each pass: ``{"epoch": 1, "loss": ..., "reconstruction": ..., ...}``."""


def train(
    network: Autoencoder,
    X: NDArray[np.float32],
    graph: NeighbourGraph | None,
    recipe: Recipe,
    rng: np.random.Generator,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> History:
    """Train ``network`` in place and leave it with its best weights.

    The learning rate warms up for 100 steps and decays to zero as a cosine. Each pass pairs every
    row anew with the end of a random walk on ``graph``. Where there are enough rows, some are held
    out; the pass with the lowest loss on them gives the weights, and training ends early when
    ``recipe.patience`` passes bring no improvement.

    Args:
        network: as built, changed in place.
        X: raw features, ``float32``, shape ``(n, d)``.
        graph: neighbours among the rows of ``X``; None where they have no weight in the loss.
        recipe: how to train.
        rng: source of randomness.
        progress: called a few times a second and after every pass.

    Returns:
        A record for each pass made: its number from 1, the means over its batches of the loss and
        of every term before it is weighted, and the loss on the held-out rows, None without any.

    Raises:
        HashretError: the loss is no longer finite.
    """
    chance = rng.spawn(1)[0]
    shuffled = rng.permutation(len(X))
    n_held_out = min(int(len(X) * recipe.validation_fraction), MAX_VALIDATION_ROWS)
    if n_held_out < MIN_VALIDATION_ROWS:
        n_held_out = 0
    rows, held_out = shuffled[n_held_out:], _Pairs(shuffled[:n_held_out], graph, recipe, rng)
    batch_size = min(recipe.batch_size, len(rows))
    # At once, so that an item meets many others; but images between layers fill the memory.
    at_once = min(batch_size, n_held_out) if recipe.architecture == "convolutional" else n_held_out
    steps_per_epoch = len(rows) // batch_size
    steps = steps_per_epoch * recipe.epochs

    loss = Loss(network, recipe)
    take_step = _training_step(network, loss, recipe, steps)
    held_out_loss = tf.function(lambda features: loss(features, training=False))
    report = ProgressReporter(progress, recipe.epochs, steps)
    log = TensorBoardLog(recipe.tensorboard) if recipe.tensorboard else None

    history: History = []
    best_loss, best_epoch, best_weights = math.inf, 0, network.model.get_weights()
    for epoch in range(1, recipe.epochs + 1):
        terms = []
        for batch in _Pairs(rng.permutation(rows), graph, recipe, rng).batches(batch_size):
            terms.append(take_step(X[batch], chance.integers(2**31, size=2, dtype=np.int32)))
            report.step(epoch, terms[-1][0])
            if log:
                log.step(report.steps_made, _named(loss, terms[-1]))
        means = _named(loss, np.mean(terms, axis=0))
        held = {}
        if n_held_out:
            parts = [held_out_loss(X[batch]) for batch in held_out.batches(at_once)]
            held = _named(loss, np.mean(parts, axis=0))
        history.append({"epoch": epoch, **means, "validation_loss": held.get("loss")})
        report.epoch(epoch, terms[-1][0], held.get("loss"))
        if log:
            log.epoch(epoch, means, held)
            _draw(log, epoch, network, X[shuffled[:N_IMAGES]], recipe)
        if not all(map(math.isfinite, means.values())):
            raise HashretError(
                f"Learning diverged in pass {epoch}: the loss is {means['loss']}. Lower "
                "learning_rate, or rescale the data."
            )
        if not held:
            continue
        if held["loss"] < best_loss:
            best_loss, best_epoch = held["loss"], epoch
            best_weights = network.model.get_weights()
        elif epoch - best_epoch >= recipe.patience:
            break
    if n_held_out:
        network.model.set_weights(best_weights)
    if log:
        log.close()
    return history


class _Pairs:
    """Rows, each with the end of a random walk from it where the neighbours count."""

    def __init__(
        self,
        rows: NDArray[np.int64],
        graph: NeighbourGraph | None,
        recipe: Recipe,
        rng: np.random.Generator,
    ) -> None:
        neighbours = () if graph is None else (graph.walk(rows, recipe.walk_length, rng),)
        self._sides = (rows, *neighbours)

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """As many rows at a time, then their neighbours; what does not fill a batch is left."""
        for at in range(0, len(self._sides[0]) - size + 1, size):
            yield np.concatenate([side[at : at + size] for side in self._sides])


def _training_step(
    network: Autoencoder, loss: Loss, recipe: Recipe, steps: int
) -> Callable[[Any, Any], tf.Tensor]:
    weights = network.model.trainable_weights
    optimizer: keras.optimizers.Optimizer = build_optimizer(
        recipe.optimizer, recipe.learning_rate, steps
    )
    optimizer.build(weights)
    signature = [
        tf.TensorSpec((None, network.model.input_shape[1]), tf.float32),
        tf.TensorSpec((2,), tf.int32),
    ]

    @tf.function(input_signature=signature, autograph=False)
    def step(features: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        if isinstance(network.bottleneck, Bottleneck):
            network.bottleneck.set_training_share(tf.cast(optimizer.iterations, tf.float32) / steps)
        with tf.GradientTape() as tape:
            terms = loss(features, training=True, seed=seed)
            total = terms[0]
        variables = [weight.value for weight in weights]
        optimizer.apply(tape.gradient(total, variables), weights)
        return terms

    return step


def _named(loss: Loss, terms: Any) -> dict[str, float]:
    return dict(zip(loss.names, np.asarray(terms).tolist(), strict=True))


def _draw(
    log: TensorBoardLog,
    epoch: int,
    network: Autoencoder,
    features: NDArray[np.float32],
    recipe: Recipe,
) -> None:
    shape = recipe.image_shape
    if shape is None or math.prod(shape) != features.shape[1]:
        return
    inputs = network.scaling.targets(features, features)
    drawn = network.model(features, training=False)
    log.images(epoch, np.asarray(inputs).reshape(-1, *shape), np.asarray(drawn).reshape(-1, *shape))
