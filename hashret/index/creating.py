"""Learn from a source and make an index folder without items, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hashret.codes import check_n_bits
from hashret.encoder.recipe import RECIPES
from hashret.errors import UsageError
from hashret.features import ImageFeatures
from hashret.features.text_counts import CountFeatures
from hashret.features.vector_features import check_metric
from hashret.files import write_durably
from hashret.index.encoding import training_matrix
from hashret.index.new_folder import new_folder
from hashret.index.trained_encoder import FEATURES_FILE
from hashret.progress import Progress, ProgressCallback, Stopwatch
from hashret.sources import Source
from hashret.store import ItemStore

if TYPE_CHECKING:
    from hashret.encoder import CodeEstimator
    from hashret.encoder.training_progress import TrainingProgress


def learn_index(
    folder: Path,
    source: Source,
    *,
    hasher: CodeEstimator,
    progress: ProgressCallback,
    keep_vectors: bool = False,
    metric: str = "l2",
    features: str = "auto",
) -> dict[str, float]:
    """Learn from a source and make an index folder without items.

    The folder is made beside its place and renamed, so that it is there whole or not at all.

    Args:
        folder: the place of the index.
        source: a sample of it is learned from.
        hasher: what learns; a copy of it is fitted. Where it needs to know the shape of images and
            was not told, it is told.
        progress: called often.
        keep_vectors: whether the index keeps the features of its items.
        metric: ``"cosine"`` scales vectors to length one.
        features: how texts become rows, see :func:`hashret.features.learn_features`.

    Returns:
        Seconds by stage: see :class:`~hashret.progress.Stopwatch`.

    Raises:
        IndexExistsError: something is at ``folder`` already.
        InputError: the source cannot be learned from.
        UsageError: a parameter of the hasher is out of its range.
    """
    hasher = checked_copy(hasher)
    check_metric(metric, source.kind)
    clock = Stopwatch()
    # The folder comes first: that it cannot be written must not be found out after learning.
    with new_folder(folder.absolute()) as unfinished:
        settings = _learn_into(
            unfinished / "encoder", source, hasher, progress, keep_vectors, metric, features, clock
        )
        (unfinished / "segments").mkdir()
        ItemStore.create(unfinished / "items.db", settings).close()
    return clock.seconds


def _learn_into(
    folder: Path,
    source: Source,
    hasher: CodeEstimator,
    progress: ProgressCallback,
    keep_vectors: bool,
    metric: str,
    method: str,
    clock: Stopwatch,
) -> dict[str, Any]:
    """Learn, write the encoder's files into ``folder``, and return the settings of the index."""
    parameters = hasher.get_params(deep=False)
    rng = np.random.default_rng(parameters["random_state"])
    features, matrix = training_matrix(source, rng, progress, metric, method, clock)
    if isinstance(features, ImageFeatures) and parameters.get("image_shape", ()) is None:
        hasher.set_params(image_shape=(features.height, features.width, features.channels))
    if isinstance(features, CountFeatures) and parameters.get("reconstruction_loss") == "auto":
        hasher.set_params(reconstruction_loss="multinomial")

    started = time.perf_counter()
    latest = Progress(
        "learning", 0, None, "measuring neighbours" if parameters.get("neighbour_weight") else ""
    )
    progress(latest)

    def tell(state: TrainingProgress) -> None:
        nonlocal latest
        latest = _learning(state)
        progress(latest)

    hasher.fit(matrix, progress=tell)
    bottleneck = hasher.artefacts_.metadata.get("bottleneck")
    if bottleneck is not None:
        progress(replace(latest, note=f"{latest.note}, {bottleneck} bits"))
    seconds = time.perf_counter() - started
    clock.add({"learn": seconds})
    hasher.save(folder)
    for name, array in features.arrays().items():
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        write_durably(folder / name, content.getbuffer())
    write_durably(folder / FEATURES_FILE, json.dumps(features.to_json()).encode())
    return {
        "n_bits": parameters["n_bits"],
        "kind": source.kind,
        "vector_length": features.n_features if keep_vectors else None,
        "encoder": hasher.fingerprint_,
        "encoder_files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir())
        },
        "hashret": version("hashret"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "learned_from": {
            "items": len(matrix),
            "recipe": next(name for name, one in RECIPES.items() if one == type(hasher).__name__),
            **{
                name: hasher.artefacts_.metadata[name]
                for name in ("bottleneck", "epochs")
                if name in hasher.artefacts_.metadata
            },
            **_choices(hasher),
            "seed": parameters["random_state"],
            "seconds": round(seconds, 1),
        },
    }


def _choices(hasher: CodeEstimator) -> dict[str, Any]:
    """Parameters with another value than their default, where nothing else tells them."""
    defaults = type(hasher)().get_params(deep=False)
    told = ("n_bits", "random_state", "epochs", "bottleneck", "image_shape", "tensorboard")
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in hasher.get_params(deep=False).items()
        if name not in told and value != defaults[name]
    }


def checked_copy(hasher: CodeEstimator) -> CodeEstimator:
    """A copy of a hasher that has learned nothing.

    Raises:
        UsageError: a parameter is out of its range, or it is no hasher an index can be made with.
    """
    from sklearn.base import clone

    from hashret.encoder import CodeEstimator, SemanticHasher

    if not isinstance(hasher, CodeEstimator) or type(hasher).__name__ not in RECIPES.values():
        raise UsageError(
            "hasher must be a SemanticHasher or one of hashret.encoder.baselines, not "
            f"{type(hasher).__name__!r}."
        )
    copy: CodeEstimator = clone(hasher)
    parameters = copy.get_params(deep=False)
    check_n_bits(parameters["n_bits"])
    _check_seed(parameters["random_state"])
    if isinstance(copy, SemanticHasher):
        from hashret.encoder.parameters import check_parameters

        check_parameters(parameters)
    return copy


def _check_seed(random_state: object) -> None:
    if random_state is None:
        return
    if (
        isinstance(random_state, bool)
        or not isinstance(random_state, int)
        or not 0 <= random_state < 2**32
    ):
        raise UsageError(
            "random_state must be None or a whole number from 0 to 2**32 - 1, not "
            f"{random_state!r}."
        )


def _learning(state: TrainingProgress) -> Progress:
    loss = state.loss if state.validation_loss is None else state.validation_loss
    what = "layer" if state.phase == "pretraining" else "pass"
    note = f"{what} {state.epoch} of {state.epochs}, loss {loss:.3f}"
    return Progress("learning", state.step, state.steps, note)
