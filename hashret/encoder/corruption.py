"""What is done to an encoder's inputs in training, so that it learns what is not lost by it.

The reconstruction is still compared with the untouched item: the denoising autoencoder of Vincent,
Larochelle, Bengio and Manzagol (2008), "Extracting and Composing Robust Features with Denoising
Autoencoders". Noise teaches denoising, a mask inpainting, downsampling super-resolution.
"""

from __future__ import annotations

import math

import tensorflow as tf

from hashret.encoder.recipe import Recipe

MAX_ROTATION = math.radians(10)
MAX_SCALING = 0.1
MAX_SHIFT = 0.08
ERASED_SIDES = (0.15, 0.4)
ERASED_SHARE = 0.5


class Corruption:
    """Disturbs scaled inputs: first as an image is augmented, then by the kind of corruption.

    Args:
        recipe: ``corruption``, ``corruption_level``, ``augment`` and ``image_shape`` count.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Keep what is to be done."""
        self._recipe = recipe

    @property
    def changes_nothing(self) -> bool:
        """Whether inputs come out as they are."""
        return self._recipe.corruption is None and not self._recipe.augment

    def __call__(self, inputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Disturbed inputs.

        Args:
            inputs: scaled features, shape ``(m, d)``.
            seed: two integers; the same give the same disturbance.
        """
        augment_seed, seed = tf.unstack(tf.random.split(seed, 2))
        shape, level = tf.shape(inputs), self._recipe.corruption_level
        if self._recipe.augment:
            images = augment_images(self._images(inputs), augment_seed)
            inputs = tf.reshape(images, shape)
        if self._recipe.corruption == "noise":
            inputs += level * tf.random.stateless_normal(shape, seed)
        elif self._recipe.corruption == "mask":
            kept = tf.random.stateless_uniform(shape, seed) >= level
            inputs = tf.where(kept, inputs, 0.0)
        elif self._recipe.corruption == "downsample":
            inputs = tf.reshape(blurred(self._images(inputs), int(level)), shape)
        return inputs

    def _images(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.reshape(inputs, (-1, *(self._recipe.image_shape or ())))


def blurred(images: tf.Tensor, factor: int) -> tf.Tensor:
    """Images at a resolution ``factor`` times lower, drawn at their own size, ``(m, h, w, c)``."""
    height, width = images.shape[1], images.shape[2]
    small = (math.ceil(height / factor), math.ceil(width / factor))
    return tf.image.resize(tf.image.resize(images, small, method="area"), (height, width))


def augment_images(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Rotate, scale and shift images a little at random, and erase a patch of every other one.

    Up to 10 degrees, 10 % and 8 % of the sides; patches have sides of 15 to 40 % of the image's.
    What comes in from outside is 0, and so is what is erased.

    Args:
        images: shape ``(m, h, w, c)``.
        seed: two integers.
    """
    height, width = float(images.shape[1]), float(images.shape[2])
    m = tf.shape(images)[0]
    moves = tf.random.stateless_uniform((4, m), tf.random.fold_in(seed, 0), -1.0, 1.0)
    angle, growth = MAX_ROTATION * moves[0], 1.0 + MAX_SCALING * moves[1]
    cosine, sine = tf.cos(angle) * growth, tf.sin(angle) * growth
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    # A pixel of the result comes from the place (x, y) -> centre + R (x - centre) + shift.
    shift_x = centre_x - cosine * centre_x + sine * centre_y + MAX_SHIFT * width * moves[2]
    shift_y = centre_y - sine * centre_x - cosine * centre_y + MAX_SHIFT * height * moves[3]
    zeros = tf.zeros_like(angle)
    transforms = tf.stack([cosine, -sine, shift_x, sine, cosine, shift_y, zeros, zeros], axis=1)
    images = tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=transforms, output_shape=tf.shape(images)[1:3], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="CONSTANT",
    )  # fmt: skip
    return tf.where(_patches(height, width, m, tf.random.fold_in(seed, 1)), 0.0, images)


def _patches(height: float, width: float, m: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Where to erase: one rectangle in about half of the ``m`` images, shape ``(m, h, w, 1)``."""
    chance = tf.random.stateless_uniform((5, m), seed)
    least, most = ERASED_SIDES

    def inside(length: float, place: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        side = length * (least + (most - least) * size)
        start = place * (length - side)
        at = tf.range(length)[None]
        return (at >= start[:, None] - 0.5) & (at < (start + side)[:, None] - 0.5)

    chosen = chance[4] < ERASED_SHARE
    rows = inside(height, chance[0], chance[1]) & chosen[:, None]
    columns = inside(width, chance[2], chance[3])
    return (rows[:, :, None] & columns[:, None, :])[..., None]
