"""Bringing a version of a shard to this machine: whole, compared with its checksums, flushed."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import hashret.index.index
from hashret.cluster.remote_folder import RemoteFolder
from hashret.cluster.versions import PublishedFile, Version, digest_of
from hashret.errors import DamagedIndexError
from hashret.store.copies import seal_copy

_log = logging.getLogger("hashret")

_ATTEMPTS = 3
_SETTLED_SECONDS = 0.03
"""Files that were written just now are not noted as whole: see ``hashret.store.seal``."""


def fetch(
    remote: RemoteFolder, shard: str, version: Version, target: Path, near: Sequence[Path]
) -> None:
    """Copy the files of a version into an empty folder, and see that they make an index.

    Args:
        remote: the folder of the cluster.
        shard: that of the shard in it.
        version: what to fetch.
        target: where to; nobody else knows of it.
        near: folders on this machine that may have the same files.

    Raises:
        GoneError: a file is not there any more, as that of an old version.
        UnreachableError: nobody can tell.
        DamagedIndexError: a file is not what was published.
        OSError: it cannot be written here.
    """
    for name, file in version.files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not any(_copied(folder / name, path, file) for folder in near):
            _fetch_file(remote, f"{shard}/{file.at}", path, file)
        with path.open("rb") as written:
            os.fsync(written.fileno())
    seal_copy(target)
    time.sleep(_SETTLED_SECONDS)
    with hashret.index.Index.open(target) as index, index.reader.snapshot():
        pass  # which compares the segments with the database, and notes that they are whole


def _copied(source: Path, target: Path, file: PublishedFile) -> bool:
    with suppress(OSError):
        if source.stat().st_size == file.size:
            shutil.copyfile(source, target)
            return digest_of(target) == file.sha256
    return False


def _fetch_file(remote: RemoteFolder, name: str, target: Path, file: PublishedFile) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        target.unlink(missing_ok=True)
        remote.get(name, target)
        if digest_of(target) == file.sha256:
            return
        if attempt < _ATTEMPTS:
            _log.warning(
                "%s came with %s bytes that are not what was published; it is fetched again.",
                remote.place(name),
                f"{target.stat().st_size:,}",
            )
    raise DamagedIndexError(
        f"{remote.place(name)} is damaged: its SHA-256 is not {file.sha256}. Restore it "
        "from a copy, or publish the shard from the node that wrote it, whole (whole=True)."
    )
