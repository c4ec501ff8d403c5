"""What training makes small: a weighted sum of named terms."""

from __future__ import annotations

import tensorflow as tf

from hashret.encoder.autoencoder import Autoencoder
from hashret.encoder.corruption import Corruption
from hashret.encoder.recipe import Recipe

SMALLEST = 1e-12


class Loss:
    """The terms of an autoencoder's loss on a batch, and their sum.

    - ``reconstruction``: the error of what is decoded from the bits, by the scaling's loss.
    - ``neighbours``: :func:`spectral_contrast` of items and their neighbours.
    - ``sparsity``: :func:`crowding` of the last hidden activations.
    - ``kl``: the Kullback-Leibler divergence of the bits' probabilities from one half, summed over
      an item's bits, and divided by the number of features where the reconstruction is. With
      weights of 1 and 1, and intensities or counts, the loss is the negative evidence lower bound
      of Kingma and Welling (2014), "Auto-Encoding Variational Bayes", for a Bernoulli code.

    Terms of weight 0 are left out, but for the reconstruction, which is always watched.
    """

    def __init__(self, network: Autoencoder, recipe: Recipe) -> None:
        """Keep the network whose loss this is, and the weights of its terms."""
        self._network = network
        self._recipe = recipe
        self._corruption = Corruption(recipe)
        weights = {
            "neighbours": recipe.neighbour_weight,
            "sparsity": recipe.sparsity,
            "kl": recipe.kl_weight if recipe.bottleneck == "variational" else 0.0,
        }
        self._weights = {
            "reconstruction": recipe.reconstruction_weight,
            **{name: weight for name, weight in weights.items() if weight},
        }

    @property
    def names(self) -> tuple[str, ...]:
        """``"loss"``, then its terms, in the order in which :meth:`__call__` returns them."""
        return ("loss", *self._weights)

    def __call__(
        self, features: tf.Tensor, training: bool, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The loss of a batch, and its terms before they are weighted, one vector.

        Args:
            features: raw features. Where the neighbours have a weight, shape ``(2 m, d)``: items,
                and in the same order a neighbour of each; otherwise ``(m, d)``.
            training: whether inputs are corrupted and bits drawn.
            seed: two integers, which seed the corruption.
        """
        network, recipe = self._network, self._recipe
        paired = "neighbours" in self._weights
        m = tf.shape(features)[0] // (2 if paired else 1)
        inputs = network.inputs(features)
        seen = inputs
        if training and not self._corruption.changes_nothing:
            seen = self._corruption(inputs, seed)
        hidden, logits = network.body(seen, training=training)
        bits = network.bottleneck(logits, training=training)
        outputs = network.reconstruction(bits[:m], training=training)
        targets = network.scaling.targets(features[:m], inputs[:m])
        terms = {"reconstruction": network.scaling.error(targets, outputs)}
        if paired:
            signs = bits if recipe.bottleneck == "linear" else 2 * bits - 1
            terms["neighbours"] = spectral_contrast(signs[:m], signs[m:], recipe.mu)
        if "sparsity" in self._weights:
            terms["sparsity"] = crowding(hidden)
        if "kl" in self._weights:
            divergence = divergence_from_half(network.bottleneck.slope * logits)
            # The error of counts is an item's, any other a feature's.
            per_item = network.scaling.loss == "multinomial"
            terms["kl"] = divergence if per_item else divergence / features.shape[1]
        loss = tf.add_n([weight * terms[name] for name, weight in self._weights.items()])
        return tf.stack([loss, *(terms[name] for name in self._weights)])


def spectral_contrast(signs: tf.Tensor, neighbour_signs: tf.Tensor, mu: float) -> tf.Tensor:
    """The spectral contrastive loss of pairs of neighbours, a scalar.

    That of HaoChen, Wei, Gaidon and Ma (2021), "Provable Guarantees for Self-Supervised Deep
    Learning with Spectral Contrastive Loss", section 3.2, on codes of -1 and +1 scaled to the
    squared length ``mu``: a neighbour's code is drawn near, those of the other pairs of the batch
    are made orthogonal. A small ``mu`` gathers whole classes in a few codes, a large one keeps
    items apart.

    Args:
        signs: codes of items, shape ``(m, n_bits)``.
        neighbour_signs: codes of a neighbour of each, the same shape.
        mu: squared length of a code.
    """
    products = tf.matmul(signs, neighbour_signs, transpose_b=True) * (mu / signs.shape[1])
    paired = tf.linalg.diag_part(products)
    m = tf.cast(tf.shape(signs)[0], tf.float32)
    others = tf.reduce_sum(tf.square(products)) - tf.reduce_sum(tf.square(paired))
    return others / tf.maximum(m * (m - 1), 1) - 2 * tf.reduce_mean(paired)


def crowding(activations: tf.Tensor) -> tf.Tensor:
    """How many units take part: an item's L1 norm over its L2 norm, 1 where all are alike.

    The L1 penalty of sparse autoencoders, made blind to scale: Hoyer (2004), "Non-negative Matrix
    Factorization with Sparseness Constraints", section 3.1. The plain one would be paid by making
    all activations small, which the BatchNormalization behind them undoes.

    Args:
        activations: shape ``(m, ...)``.
    """
    rows = tf.reshape(activations, (tf.shape(activations)[0], -1))
    size = tf.reduce_mean(tf.abs(rows), axis=1)
    return tf.reduce_mean(size * tf.math.rsqrt(tf.reduce_mean(tf.square(rows), axis=1) + SMALLEST))


def divergence_from_half(logits: tf.Tensor) -> tf.Tensor:
    """KL(Bernoulli(sigmoid(logits)) || Bernoulli(1/2)) in nats, summed over bits, mean of items."""
    ones = tf.sigmoid(logits)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=ones, logits=logits)
    return tf.reduce_mean(tf.reduce_sum(tf.math.log(2.0) - entropy, axis=1))
