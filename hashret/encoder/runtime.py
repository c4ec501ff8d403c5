"""Encoding with a trained model, without TensorFlow."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
from numpy.typing import NDArray

from hashret.codes import Codes
from hashret.encoder.quiet import quiet_stderr
from hashret.errors import DamagedIndexError, InputError

BATCH_ROWS = 1024
THREADS = 2
FINGERPRINT_DIGITS = 16


def fingerprint_of(model: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of an encoder file's bytes."""
    return hashlib.sha256(model).hexdigest()[:FINGERPRINT_DIGITS]


class Encoder:
    """Raw features -> packed codes, by LiteRT.

    A row gets the same code in whatever batch it comes. An encoder may be shared by threads; they
    take turns.

    Args:
        model: the bytes of an ``encoder.tflite``.

    Attributes:
        n_features: width of the data.
        n_bits: bits in a code.
        fingerprint: names the encoder; codes of different fingerprints must not be compared.

    Raises:
        DamagedIndexError: the bytes are not such a model.

    Example:
        >>> encoder = Encoder(path.read_bytes())  # doctest: +SKIP
        >>> encoder.encode(X)  # doctest: +SKIP
    """

    def __init__(self, model: bytes) -> None:
        """Make the model ready to run."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            with quiet_stderr():
                self._interpreter = Interpreter(model_content=model, num_threads=THREADS)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise DamagedIndexError(
                f"The encoder model cannot be read ({error}). Restore encoder.tflite from a "
                "backup, or learn and index again."
            ) from error
        entry = self._interpreter.get_input_details()[0]
        result = self._interpreter.get_output_details()[0]
        self._input, self._output = entry["index"], result["index"]
        self._rows = int(entry["shape"][0])
        self._lock = threading.Lock()
        self.n_features = int(entry["shape"][1])
        self.n_bits = int(result["shape"][1])
        self.fingerprint = fingerprint_of(model)

    def encode(self, X: NDArray[np.float32]) -> Codes:
        """Encode rows of raw features.

        Args:
            X: ``float32``, shape ``(n, n_features)``, finite.

        Returns:
            ``uint8`` codes of shape ``(n, n_bits / 8)``; a bit is 1 where its logit is above 0.

        Raises:
            InputError: another shape.
        """
        X = self._checked(X)
        codes = np.empty((len(X), self.n_bits // 8), dtype=np.uint8)
        for start in range(0, len(X), BATCH_ROWS):
            logits = self._logits(X[start : start + BATCH_ROWS])
            codes[start : start + BATCH_ROWS] = np.packbits(logits > 0, axis=1)
        return codes

    def logits(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the bits of rows are decided by: the further from 0, the more certain the bit.

        Args:
            X: ``float32``, shape ``(n, n_features)``, finite.

        Returns:
            ``float32``, shape ``(n, n_bits)``; bit ``j`` of a row's code is 1 where
            ``logits[:, j] > 0``.

        Raises:
            InputError: another shape.

        Example:
            >>> encoder.logits(X).shape  # doctest: +SKIP
            (1000, 64)
        """
        X = self._checked(X)
        logits = np.empty((len(X), self.n_bits), dtype=np.float32)
        for start in range(0, len(X), BATCH_ROWS):
            logits[start : start + BATCH_ROWS] = self._logits(X[start : start + BATCH_ROWS])
        return logits

    def _checked(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        X = np.ascontiguousarray(X, dtype=np.float32)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise InputError(
                f"Expected an array of shape (n, {self.n_features}) for this encoder, got "
                f"{X.shape}."
            )
        return X

    def _logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with self._lock:
            if len(batch) != self._rows:
                self._interpreter.resize_tensor_input(self._input, batch.shape)
                self._interpreter.allocate_tensors()
                self._rows = len(batch)
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output)
