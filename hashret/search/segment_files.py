"""The files of a segment: NumPy arrays and a manifest, published whole or not at all.

A segment is derived data in a folder that never changes once it is there. The manifest holds the
size of every file and CRC-32 checksums of its blocks, so that opening checks what is cheap to check
(presence, size, header) without reading the data, and :func:`problems` checks every byte.
"""

from __future__ import annotations

import json
import mmap
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashret.errors import (
    DamagedIndexError,
    HashretError,
    IndexExistsError,
    IndexNotFoundError,
    UnknownFormatError,
)
from hashret.files import check_own, flush_folder, read_regular, write_durably
from hashret.search import array_file
from hashret.search.array_file import ArrayFile
from hashret.search.layout import Layout
from hashret.search.segment import Segment, array_kinds

FORMAT = 2
MANIFEST = "manifest.json"
REMEDY = "Search files are derived: delete the folder and build it again."
MOST_BYTES = 1 << 24
"""A manifest has some 12 bytes for each 64 MiB of a segment."""
RANDOM_FROM_BYTES = 1 << 24
"""Larger files are mapped for access at random: reading ahead, which is many times slower for it,
is right only where little of a file would be left out."""


def publish_segment(path: Path, segment: Segment) -> None:
    """Write a segment into the new folder ``path``.

    The files are written beside it, flushed to the disk and renamed into place.

    Raises:
        IndexExistsError: something is at ``path`` already.
        HashretError: the files cannot be written.
    """
    own = {
        "codes.npy": segment.words,
        "rows.npy": segment.rows,
        "offsets.npy": segment.offsets,
        "positions.npy": segment.positions,
    }
    shape = segment.layout, len(segment), segment.row_base, segment.row_end
    kinds = array_kinds(*shape)
    with writing(path) as folder, ExitStack() as opened:
        files = {
            name: opened.enter_context(ArrayFile(folder / name, *kind))
            for name, kind in kinds.items()
        }
        for name, file in files.items():
            file.append(own[name])
        publish(path, folder, files.values(), facts_of(*shape))


@contextmanager
def writing(path: Path, kept: Path | None = None) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` for the files of a segment.

    Args:
        path: where they are to be published.
        kept: the temporary folder, there already or not, which is left as it is if the work is
            interrupted; by default a new one is made, and removed in any case.

    Raises:
        IndexExistsError: something is at ``path`` already.
        HashretError: for an ``OSError`` while the files are written.
    """
    if path.exists():
        raise IndexExistsError(f"{path} already exists: search files are never written over.")
    folder = kept or path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=kept is not None)
        yield folder
    except HashretError:
        raise
    except OSError as error:
        raise HashretError(
            f"Could not write the search files to {path}: {error.strerror or error}."
        ) from error
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)


def publish(path: Path, folder: Path, files: Iterable[ArrayFile], facts: dict[str, Any]) -> None:
    """Flush the written files of a temporary folder, add a manifest and rename it to ``path``.

    Raises:
        OSError: that cannot be done.
    """
    for file in files:
        file.flush()
    content = {
        "format": FORMAT,
        **facts,
        "files": {file.path.name: file.facts() for file in files},
    }
    manifest = {**content, "crc32": _crc32_of(content)}
    write_durably(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    folder.rename(path)
    flush_folder(path.parent)


def facts_of(layout: Layout, n: int, row_base: int, row_end: int) -> dict[str, Any]:
    """What the manifest says of a segment besides its files."""
    return {"n": n, "row_base": row_base, "row_end": row_end, "layout": layout.to_json()}


def open_segment(path: Path) -> Segment:
    """Map a published segment, reading only the manifest and the headers.

    Raises:
        IndexNotFoundError: there is no folder at ``path``.
        DamagedIndexError: a file is missing, cut short or altered.
    """
    arrays, facts = open_mapped(path)
    file = path / MANIFEST
    try:
        layout = Layout.from_json(facts["layout"])
        n, row_base, row_end = facts["n"], facts["row_base"], facts["row_end"]
        kinds = array_kinds(layout, n, row_base, row_end)
    except (DamagedIndexError, KeyError, TypeError) as error:
        raise DamagedIndexError(f"{file} is damaged: it describes no segment. {REMEDY}") from error
    if {name: (array.dtype, array.shape) for name, array in arrays.items()} != kinds:
        raise DamagedIndexError(f"{file} is damaged: it describes other files. {REMEDY}")
    codes, in_order = arrays["codes.npy"], None
    if codes.nbytes > RANDOM_FROM_BYTES:
        in_order = _map(path / "codes.npy", mmap.MADV_NORMAL)
    none = np.empty(0, dtype=np.uint32)
    tables = arrays.get("offsets.npy", none), arrays.get("positions.npy", none)
    return Segment(layout, codes, arrays["rows.npy"], row_base, row_end, *tables, in_order)


def open_mapped(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Map the arrays of a published folder, reading only the manifest and the headers.

    Returns:
        The arrays by the names of their files, read-only, and the facts of the manifest.

    Raises:
        IndexNotFoundError: there is no folder at ``path``.
        DamagedIndexError: a file is missing, cut short or altered.
        UnsafeIndexError: one is a link, or no regular file.
    """
    try:
        is_there = path.is_dir()
    except OSError as error:
        raise DamagedIndexError(
            f"{path} cannot be read: {error.strerror or error}. {REMEDY}"
        ) from error
    if not is_there:
        raise IndexNotFoundError(f"There are no search files at {path}: no such folder.")
    check_own(path)
    manifest = _read_manifest(path)
    arrays = {}
    for name, facts in manifest["files"].items():
        file = path / name
        problem = array_file.header_problem(file, facts)
        if problem is not None:
            raise DamagedIndexError(f"{problem} {REMEDY}")
        large = facts["bytes"] > RANDOM_FROM_BYTES
        advice = mmap.MADV_RANDOM if large else mmap.MADV_NORMAL
        arrays[name] = _map(file, advice)
    return arrays, manifest


def problems(path: Path) -> list[str]:
    """Read every byte of a published folder; say what is wrong with which file, if anything is."""
    try:
        manifest = _read_manifest(path)
    except DamagedIndexError as error:
        return [str(error)]
    return array_file.problems({path / name: facts for name, facts in manifest["files"].items()})


def _map(file: Path, advice: int) -> NDArray[Any]:
    try:
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        mapped._mmap.madvise(advice)
    except (OSError, ValueError) as error:
        raise DamagedIndexError(f"{file} cannot be read ({error}). {REMEDY}") from error
    # A plain array over the mapping: every slice of a memmap is many times slower to make.
    return np.asarray(mapped)


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = json.loads(read_regular(file, MOST_BYTES))
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
        raise UnknownFormatError(str(file), version, (FORMAT, FORMAT), REMEDY)
    if not _describes_files(manifest.get("files")):
        raise DamagedIndexError(f"{file} is damaged: it describes no files of its own. {REMEDY}")
    return dict(manifest)


def _describes_files(files: object) -> bool:
    """Whether these are plain names, none of which leads elsewhere, each with whole facts."""
    return isinstance(files, dict) and all(
        isinstance(name, str)
        and name == Path(name).name
        and isinstance(facts, dict)
        and all(type(facts.get(fact)) is int for fact in array_file.NUMBERS)
        and isinstance(facts.get("crc32"), list)
        and all(type(crc32) is int for crc32 in facts["crc32"])
        for name, facts in files.items()
    )


def _crc32_of(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
