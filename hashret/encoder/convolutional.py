"""The layers of a convolutional autoencoder, between rows of pixels and bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras

from hashret.encoder.recipe import Recipe

KERNEL_SIDE = 3


def build_logits_from_images(scaled: Any, recipe: Recipe, seeds: Iterator[int]) -> tuple[Any, Any]:
    """Halve the sides and change the channels stage by stage, then project.

    Args:
        scaled: pixels as rows, shape ``(n, height * width * channels)``.
        recipe: ``hidden`` is the number of filters of each stage.
        seeds: of the initial weights.

    Returns:
        The last stage's activations as rows, and the projection to ``n_units``.
    """
    state = keras.layers.Reshape(recipe.image_shape, name="image")(scaled)
    for depth, filters in enumerate(recipe.hidden):
        state = _convolution(filters, f"encode_{depth}", recipe.activation, seeds, strides=2)(state)
    state = keras.layers.Flatten(name="flatten")(state)
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    project = keras.layers.Dense(recipe.n_units, kernel_initializer=initializer, name="project")
    return state, project(state)


def build_images_from_bits(bits: Any, recipe: Recipe, seeds: Iterator[int]) -> Any:
    """Mirror :func:`build_logits_from_images`, to exactly the shape of the images.

    Every stage repeats its pixels and convolves them, in place of a transposed convolution, which
    leaves checkerboards: Odena, Dumoulin and Olah (2016), "Deconvolution and Checkerboard
    Artifacts". Sides that were odd before they were halved are cut to size.
    """
    height, width, channels = recipe.image_shape or (0, 0, 0)
    sizes = [(height, width)]
    for _ in recipe.hidden:
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    *targets, (height, width) = sizes
    widest = recipe.hidden[-1]
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    state = keras.layers.Dense(
        height * width * widest, recipe.activation, kernel_initializer=initializer, name="expand"
    )(bits)
    state = keras.layers.Reshape((height, width, widest), name="coarse")(state)
    filters = (channels, *recipe.hidden[:-1])
    for depth in reversed(range(len(recipe.hidden))):
        rows, columns = targets[depth]
        state = keras.layers.UpSampling2D(2, name=f"repeat_{depth}")(state)
        surplus = ((0, 2 * height - rows), (0, 2 * width - columns))
        state = keras.layers.Cropping2D(surplus, name=f"cut_{depth}")(state)
        activation = recipe.activation if depth else None
        state = _convolution(filters[depth], f"decode_{depth}", activation, seeds)(state)
        height, width = rows, columns
    return keras.layers.Flatten(name="reconstruct")(state)


def _convolution(
    filters: int, name: str, activation: str | None, seeds: Iterator[int], strides: int = 1
) -> keras.layers.Conv2D:
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    return keras.layers.Conv2D(
        filters, KERNEL_SIDE, strides, "same", activation=activation,
        kernel_initializer=initializer, name=name,
    )  # fmt: skip
