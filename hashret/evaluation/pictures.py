"""The plots that an index gives without learning anew."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from hashret.encoder.artefacts import METADATA_FILE
from hashret.errors import InputError, UsageError
from hashret.evaluation.drawing import Plot
from hashret.evaluation.item_plots import reconstruction_plot
from hashret.evaluation.plots import buckets_plot, correlation_plot, training_plot
from hashret.evaluation.samples import sample_of_index, sample_of_source
from hashret.index.index import Index
from hashret.progress import ProgressCallback, no_progress
from hashret.sources import Source

PICTURES = 10
MAX_PICTURES = 100
"""Side by side; more could not be told apart, and far more not be drawn."""


def code_plots(index: Index) -> list[Plot]:
    """Bucket sizes and bit correlation of an index.

    Raises:
        InputError: it holds no items.
    """
    with index.reader.state():
        codes = index.reader.store.codes(1)[1]
    if not len(codes):
        raise InputError(f"{index.path} holds no items.")
    return [buckets_plot(codes), correlation_plot(codes)]


def pictures_of_items(
    index: Index,
    source: Source | None = None,
    *,
    count: int = PICTURES,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> Plot:
    """Images, its own or those of a source, above what their bits keep of them.

    Raises:
        UsageError: the index holds no images, or more than 100 are asked for.
        InputError: no image can be read.
    """
    if count > MAX_PICTURES:
        raise UsageError(f"At most {MAX_PICTURES} images are shown at a time, not {count}.")
    if index.kind != "images":
        raise UsageError(
            f"Only images can be looked at; this index holds {index.kind}. `hashret evaluate` "
            "gives the error of their reconstruction."
        )
    if source is None:
        sample = sample_of_index(index, count, seed=seed, progress=progress)
    else:
        index.encoder.check_kind(source)
        features = index.encoder.features
        sample = sample_of_source(source, count, features=features, seed=seed, progress=progress)
    codes = index.encoder.runtime.encode(sample.matrix)
    pictures, decoded = (
        [np.asarray(index.encoder.picture(row)) for row in rows]
        for rows in (sample.matrix, index.reconstruct(codes))
    )
    return reconstruction_plot(sample.keys, pictures, decoded, index.n_bits)


def training_of(index: Index) -> Plot:
    """The curves of the training of an index's encoder.

    Raises:
        InputError: its encoder keeps none, being older or a method without passes.
    """
    history = history_of(index)
    if not history:
        raise InputError(
            f"The encoder of {index.path} keeps no history of its training: it was made by a "
            "hashret that wrote none, or by a method that learns in one pass. Learn anew to see "
            "one."
        )
    return training_plot(history)


def history_of(index: Index) -> list[dict[str, Any]]:
    """What an index's encoder noted in each pass of its training; empty if nothing."""
    try:
        metadata = json.loads((index.path / "encoder" / METADATA_FILE).read_bytes())
        history = metadata.get("history")
    except (OSError, ValueError, AttributeError):
        return []
    return history if isinstance(history, list) else []
