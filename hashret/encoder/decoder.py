"""Bits -> features by NumPy alone: the decoder of a saved autoencoder, without TensorFlow.

``autoencoder.keras`` may come from anywhere, so nothing of it is trusted. Its configuration tells
the layers and their widths; from these follow the shapes of all weights, and no others are read.
Each must lie in the file itself: HDF5 knows links, external storage and virtual data sets, which
name other files, and filters and missing blocks, which make gigabytes of a few bytes. All weights
together are no more than the file: layers may share theirs by links, or by overlapping.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from io import BytesIO
from itertools import pairwise
from typing import Any, NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from hashret.codes import unpack
from hashret.encoder.decoder_layers import LAYERS, MOST_VALUES, Shape, Step, Take
from hashret.encoder.runtime import Encoder
from hashret.errors import DamagedIndexError

BLOCK_ROWS = 1024
"""So many rows are decoded at a time, or fewer where they are long."""
_BLOCK_VALUES = 1 << 26
MOST_CONFIG_BYTES = 1 << 28
"""Ten million features have an offset each, of 25 characters at most."""

_MOST_TOTAL_VALUES = 4 * MOST_VALUES
"""Of a row, in all layers: in a decoder of images, each stage has a quarter of the next one's."""

_REMEDY = "Restore the encoder folder from a copy, or learn and index again."


class Measure(NamedTuple):
    """In what rows are compared with what is made of their bits.

    Attributes:
        scale: of raw features, where they become the network's inputs.
        shares: whether counts are compared as shares of their sum.
    """

    scale: float
    shares: bool


class Decoder:
    """Bits -> raw features, as the layer ``decoder`` of a saved autoencoder computes them.

    The same to rounding: sums are taken in another order.

    Attributes:
        n_bits: bits in a code.
        n_features: width of the data.
    """

    def __init__(
        self, steps: list[Step], widest: int, measure: Measure, *, n_bits: int, n_features: int
    ) -> None:
        """Keep what is done one after the other; use :meth:`read`."""
        self.n_bits = n_bits
        self.n_features = n_features
        self._steps = steps
        self._block_rows = min(BLOCK_ROWS, max(1, _BLOCK_VALUES // widest))
        self._measure = measure

    @classmethod
    def read(cls, autoencoder_file: bytes) -> Decoder:
        """The decoder in the bytes of ``autoencoder.keras``.

        Raises:
            DamagedIndexError: hashret has not written them, or they are damaged.
        """
        try:
            with ZipFile(BytesIO(autoencoder_file)) as archive:
                config = json.loads(_member(archive, "config.json", MOST_CONFIG_BYTES))
                return _read(config, _member(archive, "model.weights.h5"))
        except (
            *(ArithmeticError, AttributeError, LookupError, OSError, RecursionError),
            *(RuntimeError, TypeError, ValueError, BadZipFile, NotImplementedError),
        ) as error:
            raise DamagedIndexError(
                f"autoencoder.keras has no decoder as hashret writes them ({error}). {_REMEDY}"
            ) from error

    def require(self, n_bits: int, n_features: int) -> None:
        """Refuse to decode for an encoder of other widths.

        Raises:
            DamagedIndexError: the decoder belongs to another encoder.
        """
        if (self.n_bits, self.n_features) != (n_bits, n_features):
            raise DamagedIndexError(
                f"autoencoder.keras belongs to another encoder: it decodes {self.n_bits} bits to "
                f"{self.n_features:,} features; expected {n_bits} bits and {n_features:,} "
                f"features. {_REMEDY}"
            )

    def decode(self, bits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bits as zeros and ones, shape ``(n, n_bits)``, -> features, shape ``(n, n_features)``.

        Raises:
            DamagedIndexError: the decoder takes another number of bits.
        """
        self.require(bits.shape[1], self.n_features)
        blocks = [
            self._decoded(bits[start : start + self._block_rows])
            for start in range(0, max(len(bits), 1), self._block_rows)
        ]
        return np.concatenate(blocks).astype(np.float32)

    def _decoded(self, bits: NDArray[Any]) -> NDArray[Any]:
        values = bits
        for step in self._steps:
            values = step(values)
        return values

    def reconstruction_errors(
        self, rows: NDArray[np.float32], encoder: Encoder
    ) -> NDArray[np.float64]:
        """Mean squared error of each row's reconstruction from its bits, as the network sees it.

        The features are scaled as they are for the network; of counts that are reconstructed as
        shares of their sum, the shares are compared. Errors are rounded, so that equal rows have
        equal errors wherever they stand among others: sums are taken in an order that depends on
        that.

        Args:
            rows: raw features, shape ``(n, d)``.
            encoder: rows -> codes.

        Returns:
            ``float64``, shape ``(n,)``.

        Raises:
            DamagedIndexError: the decoder belongs to another encoder.
        """
        self.require(encoder.n_bits, rows.shape[1])
        errors = np.empty(len(rows))
        for start in range(0, len(rows), self._block_rows):
            block = rows[start : start + self._block_rows]
            bits = unpack(encoder.encode(block)).astype(np.float64)
            targets = block.astype(np.float64)
            if self._measure.shares:
                sums = targets.sum(axis=1, keepdims=True)
                targets = np.divide(targets, sums, out=np.zeros_like(targets), where=sums != 0)
            difference = (targets - self._decoded(bits)) * self._measure.scale
            errors[start : start + len(block)] = np.square(difference).mean(axis=1)
        return errors.astype(np.float32).astype(np.float64)


def _member(archive: ZipFile, name: str, most_bytes: int | None = None) -> bytes:
    """What a member holds, which Keras stores as it is: so it is no longer than the archive."""
    (entry,) = (one for one in archive.infolist() if one.filename == name)
    if entry.compress_type != ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    if most_bytes is not None and entry.file_size > most_bytes:
        raise ValueError(f"{name} has {entry.file_size:,} bytes, more than {most_bytes:,}")
    return archive.read(entry)


class _Placed(NamedTuple):
    """A layer, and where its weights lie: Keras numbers layers of one class."""

    layer: dict[str, Any]
    place: str


def _placed(layers: Iterable[dict[str, Any]], parent: str) -> list[_Placed]:
    seen: dict[str, int] = {}
    found = []
    for layer in layers:
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", layer["class_name"])
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        number = seen[name] = seen.get(name, -1) + 1
        found.append(_Placed(layer, f"{parent}layers/{name}{f'_{number}' * (number > 0)}/"))
    return found


def _read(config: dict[str, Any], weights: bytes) -> Decoder:
    import h5py

    outer = _placed(config["config"]["layers"], "")
    decoder = next(one for one in outer if one.layer["config"].get("name") == "decoder")
    inner = _placed(decoder.layer["config"]["layers"], decoder.place)
    _check_chain([one.layer for one in inner])
    (n_bits,) = shape = _input_shape(inner[0].layer)
    steps, widest, total = [], 1, 0
    with h5py.File(BytesIO(weights)) as file:
        held = _Weights(file, len(weights))
        for layer, place in inner[1:]:
            kind = layer["class_name"]
            if kind not in LAYERS:
                raise ValueError(f"it has a layer of the class {kind!r}")
            step, shape = LAYERS[kind](layer["config"], shape, held.of(place))
            steps.append(step)
            widest, total = max(widest, math.prod(shape)), total + math.prod(shape)
            if total > _MOST_TOTAL_VALUES:
                raise ValueError(f"it computes more than {_MOST_TOTAL_VALUES:,} values for a row")
    if shape != _input_shape(outer[0].layer):
        raise ValueError(f"it makes rows of the shape {shape}")
    by_name = {one.layer["config"]["name"]: one.layer["config"] for one in inner}
    (n_features,) = shape
    return Decoder(steps, widest, _measure(by_name), n_bits=n_bits, n_features=n_features)


def _input_shape(layer: dict[str, Any]) -> Shape:
    if layer["class_name"] != "InputLayer":
        raise ValueError("it has no inputs")
    _, width = layer["config"]["batch_shape"]
    return (int(width),)


def _measure(layers: dict[str, dict[str, Any]]) -> Measure:
    # What turns reconstructions into raw features says how these were scaled.
    scale = 1 / float(layers["unscale"]["scale"]) if "unscale" in layers else 1.0
    return Measure(scale, "shares" in layers)


def _check_chain(layers: list[dict[str, Any]]) -> None:
    """Each layer must read what the one before it gives, and nothing else."""
    for before, layer in pairwise(layers):
        (node,) = layer["inbound_nodes"]
        (given,) = node["args"]
        if given["config"]["keras_history"][0] != before["config"]["name"]:
            raise ValueError("its layers are no chain")


class _Weights:
    """Reads the weights of layers from an HDF5 file, and no more in all than the file holds."""

    def __init__(self, file: Any, n_bytes: int) -> None:
        self._file = file
        self._bytes_left = n_bytes

    def of(self, place: str) -> Take:
        """Reads those of the layer at ``place``, which must have the shapes that are asked for."""

        def take(*shapes: Shape) -> list[NDArray[np.float32]]:
            group = _own(self._file, f"{place}vars")
            if len(group) != len(shapes):
                raise ValueError(f"{place} has {len(group)} weights, not {len(shapes)}")
            self._bytes_left -= 4 * sum(map(math.prod, shapes))
            if self._bytes_left < 0:
                raise ValueError("it has more weights than the file holds")
            return [_array(_own(group, str(number)), shape) for number, shape in enumerate(shapes)]

        return take


def _own(group: Any, path: str) -> Any:
    """What lies at a path of an HDF5 file, to which no link leads that could leave it."""
    import h5py

    for name in path.split("/"):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{path} is missing, or a link")
        group = group[name]
    return group


def _array(dataset: Any, shape: Shape) -> NDArray[np.float32]:
    """The values of a data set, if it has this shape and all of them lie in the file as they are.

    Raises:
        ValueError: it has not.
    """
    import h5py

    if not isinstance(dataset, h5py.Dataset):
        raise ValueError("weights are no data set")
    created = dataset.id.get_create_plist()
    stored_as_it_is = (
        dataset.dtype == np.float32
        and created.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
        and created.get_external_count() == 0
        and created.get_nfilters() == 0
    )
    if dataset.shape != shape or not stored_as_it_is:
        raise ValueError(f"{dataset.name} is not stored as weights of the shape {shape}")
    if dataset.id.get_storage_size() != 4 * math.prod(shape):
        raise ValueError(f"{dataset.name} does not hold all of its values")
    return np.asarray(dataset)
