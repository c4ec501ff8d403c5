"""The network: raw features -> logits -> bits -> raw features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from hashret.encoder.bottleneck import build_bottleneck
from hashret.encoder.convolutional import build_images_from_bits, build_logits_from_images
from hashret.encoder.recipe import Recipe
from hashret.encoder.scaling import Scaling
from hashret.encoder.tied import TransposedDense


@dataclass(frozen=True)
class Autoencoder:
    """One network, seen as the parts that training, encoding and decoding need.

    Attributes:
        model: raw features -> raw features; the parts below share its weights.
        encoder: raw features -> logits, shape ``(n, n_units)``.
        inputs: raw features -> scaled features.
        body: scaled features -> the last hidden activations, and the logits.
        bottleneck: logits -> bits.
        reconstruction: bits -> scaled features, before the output's sigmoid or softmax.
        decoder: bits -> raw features.
        scaling: how raw features are scaled, and the loss of the reconstruction.
        stages: pairs of a layer of the encoder and the one of the decoder that undoes it, outermost
            first; none in a convolutional network.
    """

    model: keras.Model
    encoder: keras.Model
    inputs: keras.Model
    body: keras.Model
    bottleneck: keras.layers.Layer
    reconstruction: keras.Model
    decoder: keras.Model
    scaling: Scaling
    stages: tuple[tuple[keras.layers.Layer, keras.layers.Layer], ...]


def build_autoencoder(n_features: int, recipe: Recipe, scaling: Scaling, seed: int) -> Autoencoder:
    """Build an untrained autoencoder.

    The logits pass through a BatchNormalization without scale and centre: it keeps every bit near
    half ones, without which a sigmoid bottleneck collapses onto the mean item. Codes of real
    values, which have no such trouble, do without.

    Args:
        n_features: width of the data.
        recipe: the layers to build.
        scaling: from raw features to network inputs.
        seed: initial weights and chance in training depend on nothing else.
    """
    n_layers = 2 * len(recipe.hidden) + 2
    seeds = iter(np.random.SeedSequence(seed).generate_state(n_layers + 1).tolist())
    scaled = keras.Input((n_features,), name="scaled")
    bits = keras.Input((recipe.n_units,), name="bits")
    stages: tuple[tuple[keras.layers.Layer, keras.layers.Layer], ...] = ()
    if recipe.architecture == "convolutional":
        hidden_state, logits = build_logits_from_images(scaled, recipe, seeds)
        outputs = build_images_from_bits(bits, recipe, seeds)
    else:
        encoding = _dense_encoder(recipe, seeds)
        decoding = _dense_decoder(n_features, recipe, encoding, seeds)
        *hidden_layers, project = encoding
        hidden_state = scaled
        for layer in hidden_layers:
            hidden_state = layer(hidden_state)
        logits = project(hidden_state)
        outputs = bits
        for layer in decoding:
            outputs = layer(outputs)
        stages = tuple(zip(encoding, reversed(decoding), strict=True))
    if recipe.bottleneck != "linear":
        logits = keras.layers.BatchNormalization(
            momentum=0.95, scale=False, center=False, name="logits"
        )(logits)
    body = keras.Model(scaled, [hidden_state, logits], name="body")
    reconstruction = keras.Model(bits, outputs, name="reconstruction")
    decoder = keras.Model(bits, scaling.features(outputs), name="decoder")

    features = keras.Input((n_features,), name="features")
    inputs = keras.Model(features, scaling.inputs(features), name="inputs")
    encoder = keras.Model(features, body(inputs(features))[1], name="encoder")
    bottleneck = build_bottleneck(recipe.bottleneck, next(seeds))
    model = keras.Model(features, decoder(bottleneck(encoder(features))), name="autoencoder")
    return Autoencoder(
        model, encoder, inputs, body, bottleneck, reconstruction, decoder, scaling, stages
    )


def _dense_encoder(recipe: Recipe, seeds: Iterator[int]) -> list[keras.layers.Dense]:
    return [
        *(
            _dense(units, f"encode_{depth}", seeds, recipe.activation)
            for depth, units in enumerate(recipe.hidden)
        ),
        _dense(recipe.n_units, "project", seeds),
    ]


def _dense_decoder(
    n_features: int, recipe: Recipe, encoding: list[keras.layers.Dense], seeds: Iterator[int]
) -> list[keras.layers.Layer]:
    widths = [*reversed(recipe.hidden), n_features]
    names = [*(f"decode_{depth}" for depth in range(len(recipe.hidden))), "reconstruct"]
    activations = [*(recipe.activation for _ in recipe.hidden), None]
    shapes = zip(widths, names, activations, reversed(encoding), strict=True)
    if recipe.architecture == "tied":
        return [
            TransposedDense(units, activation, source, name=name)
            for units, name, activation, source in shapes
        ]
    return [_dense(units, name, seeds, activation) for units, name, activation, _ in shapes]


def _dense(
    units: int, name: str, seeds: Iterator[int], activation: str | None = None
) -> keras.layers.Dense:
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    return keras.layers.Dense(units, activation, kernel_initializer=initializer, name=name)
