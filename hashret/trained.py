"""The trained part of an index: its features, encoder and decoder, and how they came to be."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashret.codes import Codes, as_codes, check_n_bits
from hashret.encoder.artefacts import open_encoder
from hashret.encoder.runtime import Encoder
from hashret.errors import (
    DamagedIndexError,
    EncoderMismatchError,
    HashretError,
    IndexExistsError,
    InputError,
    UsageError,
)
from hashret.features import Features, ImageFeatures, features_from_json
from hashret.files import flush_folder, write_durably
from hashret.ingest import Progress, ProgressCallback, training_matrix
from hashret.sources import Source, read_value
from hashret.store import ItemStore

if TYPE_CHECKING:
    from hashret.encoder.progress import TrainingProgress

FEATURES_FILE = "features.json"


class TrainedEncoder:
    """What turns values into codes and codes into values, loaded when first needed."""

    def __init__(self, folder: Path, fingerprint: str, digests: Mapping[str, str]) -> None:
        """Name the index ``folder``, the ``fingerprint`` its codes were made with, and its files.

        Args:
            folder: the folder of the index.
            fingerprint: of the encoder that made the codes.
            digests: SHA-256 of each file of the encoder's folder, in hexadecimal, by name.
        """
        self._folder = folder / "encoder"
        self._digests = digests
        self.fingerprint = fingerprint

    @cached_property
    def features(self) -> Features:
        """How values become feature rows."""
        return features_from_json(json.loads(self._read(FEATURES_FILE)))

    @cached_property
    def runtime(self) -> Encoder:
        """Feature rows -> codes, without TensorFlow.

        Raises:
            EncoderMismatchError: the encoder's file belongs to another index.
        """
        encoder = open_encoder(self._folder)
        if encoder.fingerprint != self.fingerprint:
            raise EncoderMismatchError(
                f"The codes of this index were made by encoder {self.fingerprint}, but "
                f"{self._folder} holds encoder {encoder.fingerprint}. Put the right encoder back, "
                "or build the index again from its sources."
            )
        return encoder

    def encode(self, values: Sequence[Any]) -> Codes:
        """Codes of values (paths, arrays, PIL images), ``uint8``, shape ``(n, n_bits / 8)``.

        Raises:
            InputError: a value cannot be read or has another shape.
        """
        runtime = self.runtime
        if not values:
            return np.empty((0, runtime.n_bits // 8), dtype=np.uint8)
        rows = [
            self.features.vector(read_value(value) if isinstance(value, str | PathLike) else value)
            for value in values
        ]
        return runtime.encode(np.stack(rows))

    def reconstruct(self, codes: ArrayLike) -> NDArray[np.float32]:
        """What the decoder makes of codes: feature rows, ``float32``, shape ``(n, d)``."""
        from hashret.encoder import SemanticHasher

        if "_hasher" not in vars(self):
            self._hasher = SemanticHasher.load(self._folder)
        rows: NDArray[np.float32] = self._hasher.reconstruct(as_codes(codes))
        return rows

    def picture(self, row: NDArray[np.float32]) -> Any:
        """A feature row as a PIL image."""
        if not isinstance(self.features, ImageFeatures):
            raise UsageError(
                f"Only an index of images has pictures; this one holds {self.features.kind}."
            )
        return self.features.picture(row)

    def check_kind(self, source: Source) -> None:
        """Refuse a source of another kind than the index was learned from."""
        if source.kind != self.features.kind:
            raise InputError(
                f"This index holds {self.features.kind}, but the source holds {source.kind}: "
                f"{source.description}."
            )

    def problems(self) -> list[str]:
        """What is wrong with the files, one line each."""
        problems = []
        for name in self._digests:
            try:
                self._read(name)
            except DamagedIndexError as error:
                problems.append(str(error))
        if not problems:
            try:
                _ = self.features, self.runtime
            except HashretError as error:
                problems.append(str(error))
        return problems

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        remedy = "Restore it from a copy, or build the index again from its sources."
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DamagedIndexError(
                f"{path} cannot be read ({error.strerror}). {remedy}"
            ) from error
        if hashlib.sha256(content).hexdigest() != self._digests.get(name):
            raise DamagedIndexError(f"{path} is not the file the index was made with. {remedy}")
        return content

    @staticmethod
    def learn(
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
