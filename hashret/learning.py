"""Learn from a source and make an index folder without items, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hashret.codes import check_n_bits
from hashret.errors import HashretError, IndexExistsError
from hashret.files import flush_folder, write_durably
from hashret.ingest import Progress, ProgressCallback, training_matrix
from hashret.sources import Source
from hashret.store import ItemStore
from hashret.trained import FEATURES_FILE

if TYPE_CHECKING:
    from hashret.encoder.progress import TrainingProgress


def learn_index(
    folder: Path,
    source: Source,
    *,
    n_bits: int,
    epochs: int | None,
    random_state: int | None,
    progress: ProgressCallback,
) -> None:
    """Learn from a source and make an index folder without items.

    The folder is made beside its place and renamed, so that it is there whole or not at all.

    Raises:
        IndexExistsError: something is at ``folder`` already.
        InputError: the source cannot be learned from.
    """
    check_n_bits(n_bits)
    refuse_existing(folder)
    random = np.random.default_rng(random_state)
    features, matrix = training_matrix(source, random, progress)

    from hashret.encoder import SemanticHasher

    started = time.perf_counter()
    hasher = SemanticHasher(n_bits=n_bits, epochs=epochs, random_state=random_state)
    progress(Progress("learning", 0, None, "measuring neighbours"))
    hasher.fit(matrix, progress=lambda state: progress(_learning(state)))
    settings: dict[str, Any] = {
        "n_bits": n_bits,
        "kind": source.kind,
        "encoder": hasher.fingerprint_,
        "hashret": version("hashret"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "learned_from": {
            "items": len(matrix),
            "epochs": hasher.n_epochs_,
            "seed": random_state,
            "seconds": round(time.perf_counter() - started, 1),
        },
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep_unfinished(folder)
        unfinished = _unfinished(folder, os.getpid())
        try:
            hasher.save(unfinished / "encoder")
            write_durably(
                unfinished / "encoder" / FEATURES_FILE,
                json.dumps(features.to_json()).encode(),
            )
            settings["encoder_files"] = {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted((unfinished / "encoder").iterdir())
            }
            (unfinished / "segments").mkdir()
            ItemStore.create(unfinished / "items.db", settings).close()
            refuse_existing(folder)
            unfinished.rename(folder)
            flush_folder(folder.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise HashretError(
            f"The index could not be written to {folder} ({error.strerror or error}). Nothing "
            "is left behind; check that the folder above is writable and has room."
        ) from error


def refuse_existing(folder: Path) -> None:
    """Raise when ``folder`` is anything but absent or empty."""
    if (folder / "items.db").exists():
        raise IndexExistsError(
            f"There is an index at {folder} already. `hashret index` and Index.add add items to "
            "it; to learn anew, choose another name or delete the folder."
        )
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise IndexExistsError(
            f"{folder} is not empty and holds no index; choose another place, so that none of "
            "your files are mixed with those of the index."
        )


def _learning(state: TrainingProgress) -> Progress:
    validation = "" if state.validation_loss is None else f", held out {state.validation_loss:.3f}"
    note = f"pass {state.epoch} of {state.epochs}, loss {state.loss:.3f}{validation}"
    return Progress("learning", state.step, state.steps, note)


def _unfinished(folder: Path, process: int | str) -> Path:
    return folder.with_name(f".{folder.name}.unfinished-{process}")


def _sweep_unfinished(folder: Path) -> None:
    """Remove what runs that died while making this index left behind."""
    prefix = _unfinished(folder, "").name
    for path in folder.parent.iterdir():
        owner = path.name.removeprefix(prefix)
        if path.name.startswith(prefix) and owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
