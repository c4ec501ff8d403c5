"""Training seen in TensorBoard: the terms of the loss, and items beside their reconstructions.

Written by TensorFlow itself, in the form that TensorBoard's scalar and image plugins read; to look
at it, `pip install tensorboard` and run `tensorboard --logdir FOLDER`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework.summary_pb2 import (
    DATA_CLASS_BLOB_SEQUENCE,
    DATA_CLASS_SCALAR,
    SummaryMetadata,
)

from hashret.errors import InputError

STEPS_BETWEEN = 10
N_IMAGES = 12


class TensorBoardLog:
    """Event files under ``training`` and ``validation`` in a folder.

    Args:
        folder: made where it is missing.

    Raises:
        InputError: it cannot be written to.
    """

    def __init__(self, folder: str) -> None:
        """Open the two files."""
        try:
            self._writers = {
                run: tf.summary.create_file_writer(str(Path(folder, run)))
                for run in ("training", "validation")
            }
        except tf.errors.OpError as error:
            raise InputError(
                f"TensorBoard's files cannot be written to {folder} ({error.message})."
            ) from error

    def step(self, step: int, terms: Mapping[str, float]) -> None:
        """Write the loss and its terms on one batch, every tenth step."""
        if step % STEPS_BETWEEN == 0:
            self._scalars("training", "batch", terms, step)

    def epoch(
        self, epoch: int, training: Mapping[str, float], validation: Mapping[str, float]
    ) -> None:
        """Write the means of a pass over the data, and those of the held-out rows after it."""
        self._scalars("training", "epoch", training, epoch)
        self._scalars("validation", "epoch", validation, epoch)
        for writer in self._writers.values():
            writer.flush()

    def images(
        self, epoch: int, originals: NDArray[np.float32], drawn: NDArray[np.float32]
    ) -> None:
        """Write one picture: items in the upper row, their reconstructions in the lower.

        Args:
            epoch: the pass after which they were drawn.
            originals: shape ``(n, height, width, channels)``.
            drawn: the same shape.
        """
        low, high = float(originals.min()), float(originals.max())
        rows = [np.concatenate(list(images), axis=1) for images in (originals, drawn)]
        levels = np.clip((np.concatenate(rows) - low) / max(high - low, 1e-12), 0, 1)
        picture = np.rint(levels * 255).astype(np.uint8)
        if picture.shape[2] not in (1, 3):
            picture = picture[:, :, :1]
        height, width = picture.shape[:2]
        content = tf.stack([str(width), str(height), tf.io.encode_png(picture)])
        self._write("training", "reconstructions", content, epoch, "images")

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers.values():
            writer.close()

    def _scalars(self, run: str, group: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._write(run, f"{group}/{name}", tf.constant(value, tf.float32), step, "scalars")

    def _write(self, run: str, tag: str, value: tf.Tensor, step: int, plugin: str) -> None:
        metadata = SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name=plugin),
            data_class=DATA_CLASS_SCALAR if plugin == "scalars" else DATA_CLASS_BLOB_SEQUENCE,
        )
        with self._writers[run].as_default(step=step):
            tf.summary.write(tag, value, metadata=metadata)
