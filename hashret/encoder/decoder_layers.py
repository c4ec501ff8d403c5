"""The layers of a decoder, computed by NumPy: what each makes of values, and of their shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, ...]
"""Of one row: ``(d,)``, or ``(height, width, channels)``."""

Step: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]
"""Values of many rows -> those of the next layer."""

Take: TypeAlias = Callable[..., list[NDArray[np.float32]]]
"""Gives the weights of a layer, which must have these shapes."""

MOST_VALUES = 1 << 26
"""Of a row, in any layer."""


def _checked(shape: Shape) -> Shape:
    if min(shape, default=0) < 1 or math.prod(shape) > MOST_VALUES:
        raise ValueError(f"it makes rows of the shape {shape}")
    return shape


def _require(config: dict[str, Any], **expected: Any) -> None:
    """Refuse settings that hashret's decoders never have, and that are not computed here."""
    for name, value in expected.items():
        if config.get(name) != value:
            raise ValueError(f"a layer has {name}={config.get(name)!r}, expected {value!r}")


def _dense(config: dict[str, Any], shape: Shape, take: Take) -> tuple[Step, Shape]:
    _require(config, use_bias=True)
    (width,), (units,) = shape, _checked((int(config["units"]),))
    kernel, bias = take((width, units), (units,))
    return _projection(kernel, bias, config), (units,)


def _transposed_dense(config: dict[str, Any], shape: Shape, take: Take) -> tuple[Step, Shape]:
    (width,), (units,) = shape, _checked((int(config["units"]),))
    kernel, bias = take((units, width), (units,))
    return _projection(kernel.T, bias, config), (units,)


def _projection(
    kernel: NDArray[np.float32], bias: NDArray[np.float32], config: dict[str, Any]
) -> Step:
    activate = _activation(config)
    return lambda values: activate(values @ kernel + bias)


def _convolution(config: dict[str, Any], shape: Shape, take: Take) -> tuple[Step, Shape]:
    """3 x 3 taps: each is a product of the shifted image with the channels' kernel."""
    _require(config, kernel_size=[3, 3], strides=[1, 1], padding="same", dilation_rate=[1, 1])
    _require(config, groups=1, use_bias=True, data_format="channels_last")
    height, width, channels = shape
    after = _checked((height, width, int(config["filters"])))
    kernel, bias = take((3, 3, channels, after[2]), (after[2],))
    activate = _activation(config)

    def convolve(values: NDArray[Any]) -> NDArray[Any]:
        padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)))
        total = np.zeros((len(values), *after), dtype=values.dtype)
        for down in range(3):
            for across in range(3):
                total += padded[:, down : down + height, across : across + width] @ kernel[
                    down, across
                ].astype(values.dtype, copy=False)
        return activate(total + bias)

    return convolve, after


def _upsampling(config: dict[str, Any], shape: Shape, _: Take) -> tuple[Step, Shape]:
    _require(config, size=[2, 2], interpolation="nearest", data_format="channels_last")
    height, width, channels = shape
    return (
        lambda values: values.repeat(2, axis=1).repeat(2, axis=2),
        _checked((2 * height, 2 * width, channels)),
    )


def _cropping(config: dict[str, Any], shape: Shape, _: Take) -> tuple[Step, Shape]:
    _require(config, data_format="channels_last")
    (top, bottom), (left, right) = [[int(side) for side in pair] for pair in config["cropping"]]
    height, width, channels = shape
    if min(top, bottom, left, right) < 0:
        raise ValueError("a layer adds what it should cut")
    return (
        lambda values: values[:, top : height - bottom, left : width - right],
        _checked((height - top - bottom, width - left - right, channels)),
    )


def _reshape(config: dict[str, Any], shape: Shape, _: Take) -> tuple[Step, Shape]:
    after = _checked(tuple(int(side) for side in config["target_shape"]))
    if math.prod(after) != math.prod(shape):
        raise ValueError(f"a layer makes rows of {after} of rows of {shape}")
    return lambda values: values.reshape(len(values), *after), after


def _flatten(config: dict[str, Any], shape: Shape, _: Take) -> tuple[Step, Shape]:
    _require(config, data_format="channels_last")
    return lambda values: values.reshape(len(values), -1), (math.prod(shape),)


def _rescaling(config: dict[str, Any], shape: Shape, _: Take) -> tuple[Step, Shape]:
    if not isinstance(config["scale"], int | float):
        raise ValueError("a layer has a scale that is no number")
    scale = np.float32(config["scale"])
    offset = np.asarray(config["offset"], dtype=np.float32)
    if offset.shape not in ((), shape[-1:]):
        raise ValueError(f"a layer shifts rows of {shape} by {offset.shape}")
    return lambda values: values * scale + offset, shape


def _sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    halved: NDArray[Any] = 0.5 * (1 + np.tanh(0.5 * values))
    return halved


def _softmax(values: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: NDArray[Any] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _gelu(values: NDArray[Any]) -> NDArray[Any]:
    from scipy.special import erf

    curve: NDArray[Any] = values * 0.5 * (1 + erf(values / math.sqrt(2)))
    return curve


_ACTIVATIONS: dict[str, Step] = {
    "linear": lambda values: values,
    "relu": lambda values: np.maximum(values, 0),
    "sigmoid": _sigmoid,
    "tanh": lambda values: np.tanh(values),
    "gelu": _gelu,
    "softmax": _softmax,
}


def _activation(config: dict[str, Any]) -> Step:
    name = config["activation"]
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ValueError(f"a layer has the activation {name!r}")
    return _ACTIVATIONS[name]


LAYERS: dict[str, Callable[[dict[str, Any], Shape, Take], tuple[Step, Shape]]] = {
    "Activation": lambda config, shape, _: (_activation(config), shape),
    "Conv2D": _convolution,
    "Cropping2D": _cropping,
    "Dense": _dense,
    "Flatten": _flatten,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "TransposedDense": _transposed_dense,
    "UpSampling2D": _upsampling,
}
"""By Keras class: configuration, shape of a row and its weights -> the step and the next shape."""
