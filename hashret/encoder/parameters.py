"""The ranges of the estimators' parameters, and which of them go together."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from sklearn.utils import check_random_state

from hashret.encoder.recipe import CHOICES
from hashret.errors import UsageError

MIN_SIDE = 4

_WHOLE = ("n_units", "batch_size", "walk_length", "patience")
_WEIGHTS = ("neighbour_weight", "sparsity", "kl_weight", "validation_fraction")


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check the parameters of an estimator, by name; its code's width is checked elsewhere.

    Raises:
        UsageError: one is out of its range, or two exclude each other; the message names them.
    """
    for name, choices in CHOICES.items():
        _check_choice(name, parameters.get(name, choices[0]), choices)
    for name in _WHOLE:
        _check_number(name, parameters.get(name, 1), Integral, 1)
    for name in _WEIGHTS:
        _check_number(name, parameters.get(name, 0), Real, 0)
    for name in ("mu", "learning_rate", "corruption_level"):
        if parameters.get(name) is not None:
            _check_number(name, parameters[name], Real, 0, inclusive=False)
    for name in ("epochs", "n_neighbors"):
        if parameters.get(name) is not None:
            _check_number(name, parameters[name], Integral, 1)
    weight = parameters.get("reconstruction_weight")
    if weight is not None:
        _check_number("reconstruction_weight", weight, Real, 0)
    if parameters["validation_fraction"] >= 1:
        raise UsageError(
            f"validation_fraction must be below 1, not {parameters['validation_fraction']!r}."
        )
    if not isinstance(parameters.get("augment", False), bool):
        raise UsageError(f"augment must be True or False, not {parameters['augment']!r}.")
    folder = parameters.get("tensorboard")
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise UsageError(f"tensorboard must be None or a folder, not {folder!r}.")
    if weight == 0 and not parameters.get("neighbour_weight"):
        raise UsageError("reconstruction_weight and neighbour_weight cannot both be 0.")
    _check_hidden(parameters["hidden"])
    _check_seed(parameters["random_state"])
    _check_together(parameters)


def check_image_shape(parameters: Mapping[str, Any], n_features: int) -> None:
    """Check that rows of data are images of the shape that was given, and that one was if needed.

    Raises:
        UsageError: they are not, or no shape was given.
    """
    shape = parameters["image_shape"]
    reasons = [
        reason
        for reason, holds in (
            ("architecture='convolutional'", parameters["architecture"] == "convolutional"),
            ("corruption='downsample'", parameters.get("corruption") == "downsample"),
            ("augment=True", parameters.get("augment")),
        )
        if holds
    ]
    if shape is None:
        if reasons:
            raise UsageError(
                f"{reasons[0]} is for images: an index of images tells their shape, and to rows of "
                "an array that are images image_shape does, (height, width[, channels])."
            )
        return
    if math.prod(shape) != n_features:
        raise UsageError(
            f"image_shape {tuple(shape)} has {math.prod(shape)} values, but the data have rows of "
            f"{n_features}."
        )
    if reasons and min(shape[:2]) < MIN_SIDE:
        raise UsageError(
            f"{reasons[0]} needs images of at least {MIN_SIDE} x {MIN_SIDE} pixels; image_shape "
            f"is {tuple(shape)}."
        )


def _check_together(parameters: Mapping[str, Any]) -> None:
    architecture, pretraining = parameters["architecture"], parameters["pretraining"]
    activation = parameters["activation"]
    if architecture == "convolutional" and pretraining is not None:
        raise UsageError(
            f"pretraining={pretraining!r} is for dense layers: leave it out, or use another "
            "architecture than 'convolutional'."
        )
    if architecture == "convolutional" and not len(parameters["hidden"]):
        raise UsageError("hidden must name a number of filters for architecture='convolutional'.")
    if pretraining == "rbm" and activation not in (None, "sigmoid"):
        raise UsageError(
            "The units of a restricted Boltzmann machine are logistic: pretraining='rbm' goes with "
            f"activation='sigmoid', which it implies, not {activation!r}."
        )
    if parameters.get("sparsity") and not len(parameters["hidden"]):
        raise UsageError("sparsity acts on the last hidden layer, but hidden names none.")
    level = parameters.get("corruption_level")
    if level is not None:
        kind = parameters["corruption"]
        if kind is None:
            raise UsageError("corruption_level is of no use without corruption.")
        if kind == "mask" and level >= 1:
            raise UsageError(f"corruption_level must be a share below 1 for 'mask', not {level!r}.")
        if kind == "downsample":
            factor = int(level) if level == int(level) else level  # as a command line has it
            _check_number("corruption_level for 'downsample'", factor, Integral, 2)
    shape = parameters["image_shape"]
    if shape is not None:
        if not isinstance(shape, list | tuple) or len(shape) not in (2, 3):
            raise UsageError(
                f"image_shape must be (height, width) or (height, width, channels), not {shape!r}."
            )
        for side in shape:
            _check_number("each number in image_shape", side, Integral, 1)


def _check_hidden(hidden: Any) -> None:
    if not isinstance(hidden, list | tuple):
        raise UsageError(f"hidden must be a list or tuple of layer widths, not {hidden!r}.")
    for units in hidden:
        _check_number("a layer width in hidden", units, Integral, 1)


def _check_seed(seed: Any) -> None:
    try:
        if seed is not None:
            check_random_state(seed)
    except ValueError as error:
        raise UsageError(
            "random_state must be None, a whole number or a numpy.random.RandomState, not "
            f"{seed!r}."
        ) from error


def _check_choice(name: str, value: Any, choices: tuple[str | None, ...]) -> None:
    if not (value is None or isinstance(value, str)) or value not in choices:
        raise UsageError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}.")


def _check_number(
    name: str, value: Any, kind: type, least: float, *, inclusive: bool = True
) -> None:
    numeric = isinstance(value, kind) and not isinstance(value, bool)
    size = float(value) if numeric else math.nan
    if not math.isfinite(size) or not (size >= least if inclusive else size > least):
        noun = "a whole number" if kind is Integral else "a number"
        bound = f"of at least {least:g}" if inclusive else f"above {least:g}"
        raise UsageError(f"{name} must be {noun} {bound}, not {value!r}.")
