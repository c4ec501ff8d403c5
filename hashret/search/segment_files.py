"""The files of a segment: NumPy arrays and a manifest, published whole or not at all.

A segment is derived data in a folder that never changes once it is there. The manifest holds the
size and CRC-32 of every file, so that opening checks what is cheap to check (presence, size,
header) without reading the data, and :func:`problems` checks every byte.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import DamagedIndexError, HashretError, IndexExistsError, IndexNotFoundError
from hashret.files import flush_folder

FORMAT = 1
MANIFEST = "manifest.json"
REMEDY = "Search files are derived: delete the folder and build it again."
_CHUNK_BYTES = 1 << 22


def publish(path: Path, arrays: dict[str, NDArray[Any]], facts: dict[str, int]) -> None:
    """Write arrays as ``<name>.npy`` and a manifest with ``facts`` into the new folder ``path``.

    The files are written beside it, flushed to the disk and renamed into place.

    Raises:
        IndexExistsError: something is at ``path`` already.
        HashretError: the files cannot be written.
    """
    if path.exists():
        raise IndexExistsError(f"{path} already exists: search files are never written over.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        files = {
            f"{name}.npy": _write_array(temporary / f"{name}.npy", array)
            for name, array in arrays.items()
        }
        content = {"format": FORMAT, **facts, "files": files}
        manifest = {**content, "crc32": _crc32_of(content)}
        with (temporary / MANIFEST).open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=2)
            _flush(file)
        flush_folder(temporary)
        temporary.rename(path)
        flush_folder(path.parent)
    except OSError as error:
        raise HashretError(
            f"Could not write the search files to {path}: {error.strerror or error}."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_mapped(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Map the arrays of a published folder, reading only the manifest and the headers.

    Returns:
        The arrays by name, read-only, and the facts of the manifest.

    Raises:
        IndexNotFoundError: there is no folder at ``path``.
        DamagedIndexError: a file is missing, cut short or altered.
    """
    if not path.is_dir():
        raise IndexNotFoundError(f"There are no search files at {path}: no such folder.")
    manifest = _read_manifest(path)
    arrays = {}
    for name, facts in manifest["files"].items():
        file = path / name
        problem = _problem(file, facts["bytes"], facts["header_bytes"], facts["header_crc32"])
        if problem is not None:
            raise DamagedIndexError(f"{problem} {REMEDY}")
        try:
            mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DamagedIndexError(f"{file} cannot be read ({error}). {REMEDY}") from error
        # A plain array over the mapping: every slice of a memmap is many times slower to make.
        arrays[name.removesuffix(".npy")] = np.asarray(mapped)
    return arrays, manifest


def problems(path: Path) -> list[str]:
    """Read every byte of a published folder; say what is wrong with which file, if anything is."""
    try:
        manifest = _read_manifest(path)
    except DamagedIndexError as error:
        return [str(error)]
    found = [
        _problem(path / name, facts["bytes"], facts["bytes"], facts["crc32"])
        for name, facts in manifest["files"].items()
    ]
    return [problem for problem in found if problem is not None]


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
        written, version = manifest.pop("crc32"), manifest["format"]
    except FileNotFoundError as error:
        raise DamagedIndexError(f"{file} is missing. {REMEDY}") from error
    except OSError as error:
        raise DamagedIndexError(
            f"{file} cannot be read: {error.strerror or error}. {REMEDY}"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedIndexError(f"{file} is damaged: it is no manifest. {REMEDY}") from error
    if written != _crc32_of(manifest):
        raise DamagedIndexError(f"{file} is damaged: it was altered. {REMEDY}")
    if version != FORMAT:
        raise DamagedIndexError(
            f"{file} has format {version}, this hashret reads format {FORMAT}. {REMEDY}"
        )
    return dict(manifest)


def _write_array(path: Path, array: NDArray[Any]) -> dict[str, int]:
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
        _flush(file)
        n_bytes = file.tell()
    header_bytes = n_bytes - array.nbytes
    return {
        "bytes": n_bytes,
        "crc32": _crc32_of_file(path, n_bytes),
        "header_bytes": header_bytes,
        "header_crc32": _crc32_of_file(path, header_bytes),
    }


def _problem(path: Path, n_bytes: int, checked_bytes: int, crc32: int) -> str | None:
    """What is wrong with a file that should have ``n_bytes`` and a checksum at its start."""
    try:
        came = path.stat().st_size
        if came != n_bytes:
            return f"{path} is damaged: it has {came} bytes instead of {n_bytes}."
        if _crc32_of_file(path, checked_bytes) != crc32:
            return f"{path} is damaged: its checksum is not the one it was written with."
    except FileNotFoundError:
        return f"{path} is missing."
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}."
    return None


def _crc32_of(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _crc32_of_file(path: Path, n_bytes: int) -> int:
    crc = 0
    with path.open("rb") as file:
        while n_bytes and (chunk := file.read(min(n_bytes, _CHUNK_BYTES))):
            crc = zlib.crc32(chunk, crc)
            n_bytes -= len(chunk)
    return crc


def _flush(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
