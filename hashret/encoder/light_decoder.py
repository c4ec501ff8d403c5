"""Decoding with NumPy alone: the dense layers of a saved autoencoder, without TensorFlow."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from io import BytesIO
from itertools import pairwise
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from hashret.encoder.reconstruction import Measure, reconstruction_errors
from hashret.encoder.runtime import Encoder

_Step = Callable[[NDArray[Any]], NDArray[Any]]

MOST_BYTES = 1 << 30
"""Of weights that are read."""


class LightDecoder:
    """Bits -> raw features, as the decoder of ``autoencoder.keras`` computes them.

    The same to rounding: sums are taken in another order.
    """

    def __init__(self, steps: list[_Step], measure: Measure) -> None:
        """Keep what is done one after the other; use :meth:`read`."""
        self._steps = steps
        self._measure = measure

    @classmethod
    def read(cls, autoencoder_file: bytes) -> LightDecoder | None:
        """The decoder of a file; None where it has other layers than dense ones."""
        try:
            with ZipFile(BytesIO(autoencoder_file)) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                    return None
                config = json.loads(archive.read("config.json"))
                weights = BytesIO(archive.read("model.weights.h5"))
            return cls(*_read(config, weights))
        except (
            _OtherLayerError,
            ImportError,
            KeyError,
            TypeError,
            ValueError,
            OSError,
            BadZipFile,
        ):
            return None

    def decode(self, bits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bits as zeros and ones, shape ``(n, n_bits)``, -> features, shape ``(n, d)``."""
        return self._decoded(bits).astype(np.float32)

    def _decoded(self, bits: NDArray[Any]) -> NDArray[Any]:
        values = bits
        for step in self._steps:
            values = step(values)
        return values

    def reconstruction_errors(
        self, rows: NDArray[np.float32], encoder: Encoder
    ) -> NDArray[np.float64]:  # fmt: skip
        """What the bits lose of rows, shape ``(n, d)``: see :func:`reconstruction_errors`.

        Rounded, so that equal rows have equal errors wherever they stand among others: sums are
        taken in an order that depends on that.
        """
        errors = reconstruction_errors(
            rows, encoder, lambda bits: self._decoded(bits.astype(np.float64)), self._measure
        )
        return errors.astype(np.float32).astype(np.float64)


class _OtherLayerError(Exception):
    """A layer is of a kind that is not computed here."""


class _Placed(NamedTuple):
    """A layer, and where its weights lie: Keras numbers layers of one class."""

    layer: dict[str, Any]
    place: str


def _placed(layers: Iterable[dict[str, Any]], parent: str) -> list[_Placed]:
    seen: dict[str, int] = {}
    found = []
    for layer in layers:
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in layer["class_name"])[1:]
        number = seen[name] = seen.get(name, -1) + 1
        found.append(_Placed(layer, f"{parent}layers/{name}{f'_{number}' * (number > 0)}/"))
    return found


def _read(config: dict[str, Any], weights: BytesIO) -> tuple[list[_Step], Measure]:
    import h5py

    outer = _placed(config["config"]["layers"], "")
    decoder = next(one for one in outer if one.layer["config"].get("name") == "decoder")
    with h5py.File(weights) as file:

        def variables(place: str) -> list[NDArray[np.float32]]:
            stored = file[f"{place}vars"]
            return [np.asarray(stored[str(number)]) for number in range(len(stored))]

        inner = _placed(decoder.layer["config"]["layers"], decoder.place)
        layers = [one.layer for one in inner]
        _check_chain(layers)
        steps = [_step(one.layer, variables(one.place)) for one in inner[1:]]
        return steps, _measure({layer["config"]["name"]: layer["config"] for layer in layers})


def _measure(layers: dict[str, dict[str, Any]]) -> Measure:
    # What turns reconstructions into raw features says how these were scaled.
    scale = 1 / float(layers["unscale"]["scale"]) if "unscale" in layers else 1.0
    return Measure(scale, "shares" in layers)


def _check_chain(layers: list[dict[str, Any]]) -> None:
    """Each layer must read what the one before it gives, and nothing else."""
    if layers[0]["class_name"] != "InputLayer":
        raise _OtherLayerError
    for before, layer in pairwise(layers):
        (node,) = layer["inbound_nodes"]
        (given,) = node["args"]
        if given["config"]["keras_history"][0] != before["config"]["name"]:
            raise _OtherLayerError


def _step(layer: dict[str, Any], variables: list[NDArray[np.float32]]) -> _Step:
    name, config = layer["class_name"], layer["config"]
    if name in ("Dense", "TransposedDense"):
        kernel, bias = variables
        if name == "TransposedDense":
            kernel = kernel.T
        activate = _activation(config["activation"])
        return lambda values: activate(values @ kernel + bias)
    if name == "Activation":
        return _activation(config["activation"])
    if name == "Rescaling":
        scale, offset = np.float32(config["scale"]), np.asarray(config["offset"], dtype=np.float32)
        return lambda values: values * scale + offset
    raise _OtherLayerError


def _activation(name: object) -> _Step:
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise _OtherLayerError
    return _ACTIVATIONS[name]


def _sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    halved: NDArray[Any] = 0.5 * (1 + np.tanh(0.5 * values))
    return halved


def _softmax(values: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: NDArray[Any] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _gelu(values: NDArray[Any]) -> NDArray[Any]:
    erf = np.asarray(np.frompyfunc(math.erf, 1, 1)(values / math.sqrt(2)), dtype=np.float64)
    curve: NDArray[Any] = values * 0.5 * (1 + erf)
    return curve


_ACTIVATIONS: dict[str, _Step] = {
    "linear": lambda values: values,
    "relu": lambda values: np.maximum(values, 0),
    "sigmoid": _sigmoid,
    "tanh": lambda values: np.tanh(values),
    "gelu": _gelu,
    "softmax": _softmax,
}
