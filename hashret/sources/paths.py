"""Folders and files as sources."""

from __future__ import annotations

import os
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path

from hashret.errors import InputError, UsageError
from hashret.sources.archives import ImageArchive
from hashret.sources.array_files import holds_several, is_array_name
from hashret.sources.arrays import open_array_file
from hashret.sources.folders import TEXT_SUFFIXES, NoSuchFilesError
from hashret.sources.images import SUFFIXES, ImageFile, ImageFolder, is_image_name
from hashret.sources.inside import ARCHIVE_SUFFIXES, is_archive_name, split_inside
from hashret.sources.item import Source
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.remote import fetched, is_url
from hashret.sources.standard_input import open_standard_input
from hashret.sources.table_source import TableSource
from hashret.sources.tables import SUFFIXES as TABLE_SUFFIXES
from hashret.sources.tables import Reading, table_format
from hashret.sources.text_files import TextFile, TextFolder, is_text_name

UNDERSTOOD = (
    f"a folder of images or texts, an image ({', '.join(sorted(SUFFIXES))}), an archive of images "
    f"({', '.join(ARCHIVE_SUFFIXES)}), an IDX file (x-idx3-ubyte or x.idx, gzipped or not), .npy, "
    ".npz, .hdf5, .fvecs, .bvecs or .ivecs, a table "
    f"({', '.join(TABLE_SUFFIXES)}; text also .gz), or .md"
)


def open_path(source: str | PathLike[str], kind: str, key_prefix: str, reading: Reading) -> Source:
    """Open a folder, a file or standard input; as :func:`hashret.sources.open_source` says."""
    if source == "-":
        return open_standard_input(kind, reading, key_prefix)
    if is_url(fspath(source)):
        local, location = fetched(fspath(source), again=True), fspath(source)
        return _open_file(local, location, kind, key_prefix, reading)
    path, shown = Path(source), printable(fspath(source))
    # Not made tidy: what follows the file is a name in it.
    inside = split_inside(os.path.abspath(source)) if fspath(source) else None  # noqa: PTH100
    if inside is not None:
        if not holds_several(inside.file) or reading.column is not None:
            raise InputError(
                f"{shown} lies in a file, of which only the whole is a source: give {inside.file}."
            )
        path, reading = Path(inside.file), replace(reading, column=inside.name)
    if not fspath(source) or not path_exists(path):
        raise InputError(f"No such file or folder: {shown or repr(source)}")
    location = _absolute(path)
    if not is_unicode(location):
        raise InputError(f"The name of {shown} is not valid UTF-8; rename it.")
    if path.is_dir():
        encoding, reading = reading.encoding, replace(reading, encoding=None)
        refuse_reading(reading, shown)
        _refuse_prefix(key_prefix, shown)
        return _open_folder(location, kind, shown, encoding)
    if not path.is_file():
        raise InputError(
            f"{shown} is neither a file nor a folder; what comes through a pipe is given as - with "
            "--format, on standard input."
        )
    return _open_file(path, location, kind, key_prefix, reading)


def _open_file(path: Path, location: str, kind: str, key_prefix: str, reading: Reading) -> Source:
    """A file on disk; ``location`` is where it can be found again."""
    shown = printable(location)
    if reading.format or table_format(path.name):
        return TableSource(path, location, kind, reading, key_prefix)
    column = None
    if holds_several(path.name):
        column, reading = reading.column, replace(reading, column=None)
    encoding = reading.encoding
    if is_text_name(path.name):
        reading = replace(reading, encoding=None)
    refuse_reading(reading, shown)
    if is_array_name(path.name):
        return open_array_file(path, location, kind, key_prefix, column)
    _refuse_prefix(key_prefix, shown)
    if is_archive_name(path.name):
        _expect(kind, "images", shown)
        return ImageArchive(path.absolute().as_posix(), location)
    if is_text_name(path.name):
        _expect(kind, "text", shown)
        return TextFile(path, location, encoding)
    if is_image_name(path.name):
        _expect(kind, "images", shown)
        return ImageFile(path, location)
    raise InputError(f"Cannot tell what {shown} is. A source is {UNDERSTOOD}.")


def _refuse_prefix(key_prefix: str, shown: str) -> None:
    if key_prefix:
        raise UsageError(
            f"key_prefix is for array files and tables; in {shown} the keys are paths."
        )


def _open_folder(location: str, kind: str, shown: str, encoding: str | None) -> Source:
    """A folder of images if there is one in it, of texts otherwise."""
    if kind == "text":
        return TextFolder(location, encoding)
    _expect(kind, "images", shown)
    try:
        return ImageFolder(location)
    except NoSuchFilesError as error:
        if kind == "images":
            raise
        try:
            return TextFolder(location, encoding)
        except NoSuchFilesError as no_texts:
            raise NoSuchFilesError(
                "images or texts", location, SUFFIXES | TEXT_SUFFIXES, no_texts.notes
            ) from error


def _expect(kind: str, held: str, shown: str) -> None:
    if kind not in ("auto", held):
        wanted = "vectors (.npy, .npz, HDF5 or IDX)" if kind == "vectors" else kind
        raise InputError(f"Expected {wanted}, got {held}: {shown}")


def refuse_reading(reading: Reading, shown: str) -> None:
    """Refuse options of tables for something else.

    Raises:
        UsageError: one was given.
    """
    given = reading.given()
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(
            f"{flags} ({', '.join(given)} in Python) {'is' if len(given) == 1 else 'are'} for "
            f"tables, not for {shown}."
        )


def path_exists(path: Path) -> bool:
    """Whether there is something at a path.

    Raises:
        InputError: it cannot be looked at, or is no path.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(
            f"Cannot read {printable(str(path))}: {(error.strerror or str(error)).lower()}."
        ) from error
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no path: {error}.") from error
    return True


def _absolute(path: Path) -> str:
    """The absolute path, in which a file that is a link keeps its own name and place."""
    resolved = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    return resolved.as_posix()
