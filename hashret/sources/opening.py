"""Understand what is given as a source, and read the value of a query."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from hashret.errors import InputError, NoEncoderError, UsageError
from hashret.sources.archive_files import read_member
from hashret.sources.archives import ImageArchive
from hashret.sources.array_files import holds_several, is_array_name
from hashret.sources.arrays import open_array, open_array_file, read_row
from hashret.sources.images import (
    SUFFIXES,
    ImageFile,
    ImageFolder,
    is_image_name,
    read_image_bytes,
)
from hashret.sources.inside import ARCHIVE_SUFFIXES, is_archive_name, split_inside
from hashret.sources.item import Source
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.pairs import PairSource, is_pair
from hashret.sources.remote import fetched, is_url
from hashret.sources.several import Several

KINDS = ("auto", "images", "vectors")
UNDERSTOOD = (
    f"a folder of images, an image ({', '.join(sorted(SUFFIXES))}), an archive of images "
    f"({', '.join(ARCHIVE_SUFFIXES)}), an IDX file (x-idx3-ubyte or x.idx, gzipped or not), .npy, "
    ".npz, .hdf5, .fvecs, .bvecs or .ivecs"
)


def open_source(
    source: Any,
    kind: str = "auto",
    key_prefix: str = "",
    *,
    column: str | None = None,
) -> Source:
    """Open what a user gives as data.

    Args:
        source: a path, or a list of paths: a folder of images (with its sub-folders, whose names
            become the field ``label``), an image file, an IDX file (gzipped or not; the labels
            file beside it becomes ``label``), a .npy, .npz, HDF5, .fvecs, .bvecs or .ivecs file,
            a zip or tar archive of images, or the URL of such a file. Or Python data: an array of
            shape (n, d) of vectors, (n, height, width) or (n, height, width, 1 or 3) of ``uint8``
            images, or an iterable of (key, value) or (key, value, fields). An iterator is read
            into a list at once, because a source is iterated more than once.
        kind: ``"images"`` or ``"vectors"`` overrule what ``"auto"`` sees.
        key_prefix: what the keys of an array file or array begin with, before the number of the
            row; ``{stem}`` stands for the file's name without suffixes.
        column: the array or data set that is meant in a file that holds several.

    Returns:
        A source; nothing but arrays is read before it is iterated.

    Raises:
        InputError: there is no such file, or it cannot be used as the message says.
        UsageError: an unknown ``kind``, or a ``key_prefix`` where the keys are not row numbers.

    Example:
        >>> [item.key for item in open_source([[0.0, 1.0], [2.0, 3.0]])]
        ['0', '1']
    """
    if kind == "codes":
        raise NoEncoderError  # the kind of an index of ready codes, which encodes no source
    if kind not in KINDS:
        raise UsageError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    if not isinstance(key_prefix, str) or not is_unicode(key_prefix):
        raise UsageError(f"key_prefix must be text, got {key_prefix!r}.")
    if re.search(r"[{}]", key_prefix.replace("{stem}", "")):
        raise UsageError(f"key_prefix knows only {{stem}} between braces, got {key_prefix!r}.")
    if isinstance(source, str | PathLike):
        return _open_path(source, kind, key_prefix, column)
    if hasattr(source, "__array__"):
        return open_array(source, kind, key_prefix)
    if isinstance(source, Mapping):
        raise InputError("Expected (key, value) pairs, got a mapping; pass mapping.items().")
    if isinstance(source, bytes | bytearray) or not isinstance(source, Iterable):
        raise InputError(_unknown(source))
    entries = source if isinstance(source, list | tuple) else list(source)
    if not entries:
        raise InputError("The source is empty: expected paths, rows or (key, value) pairs.")
    if all(isinstance(entry, str | PathLike) for entry in entries):
        parts = [_open_path(entry, kind, key_prefix, column) for entry in entries]
        return parts[0] if len(parts) == 1 else Several(parts)
    if not is_pair(entries[0]):
        return open_array(entries, kind, key_prefix)
    if key_prefix:
        raise UsageError("key_prefix is for row numbers; pairs have keys of their own.")
    return PairSource(entries, kind)


def read_value(path: str | PathLike[str]) -> Any:
    """Read the one value of a query from a file.

    Args:
        path: an image file, an array file that holds one value, or one row of an array file,
            counted from 0: ``"t10k-images-idx3-ubyte.gz#17"``.

    Returns:
        The bytes of an image file, undecoded, or an array.

    Raises:
        InputError: there is no such file or row, or several values and no row is named.
    """
    text, row = fspath(path), None
    inside = split_inside(text)
    if inside is not None and is_archive_name(inside.file):
        return read_member(*inside)
    if (locator := re.fullmatch(r"(.+)#([0-9]{1,18})", text, re.DOTALL)) and (
        is_url(text) or inside is not None or not _exists(Path(text))
    ):
        text, row = locator[1], int(locator[2])
    inside, shown = split_inside(text), printable(text)
    if inside is not None:
        return read_row(Path(inside.file), row, inside.name)
    if not is_url(text) and not _exists(Path(text)):
        raise InputError(f"No such file: {shown}")
    given = fetched(text) if is_url(text) else Path(text)
    if given.is_dir():
        raise InputError(f"Expected one image or array file, got the folder {shown}.")
    if is_array_name(given.name):
        return read_row(given, row)
    if not is_image_name(given.name) or row is not None:
        raise InputError(
            f"Expected an image ({', '.join(sorted(SUFFIXES))}), one in an archive "
            "(photos.zip/a.jpg), an array file, or one row of it (images-idx3-ubyte.gz#17, "
            f"vectors.npy#17), got {shown}."
        )
    try:
        return read_image_bytes(given)
    except InputError as error:
        raise InputError(f"Cannot read {shown}: {error}.") from error


def _open_path(
    source: str | PathLike[str], kind: str, key_prefix: str, column: str | None
) -> Source:
    if is_url(fspath(source)):
        local, location = fetched(fspath(source), again=True), fspath(source)
        return _open_file(local, location, kind, key_prefix, column)
    path, shown = Path(source), printable(fspath(source))
    inside = split_inside(os.path.abspath(source)) if fspath(source) else None  # noqa: PTH100, names inside stay as they are
    if inside is not None and holds_several(inside.file) and column is None:
        path, column = Path(inside.file), inside.name
    elif inside is not None:
        raise InputError(
            f"{shown} lies in a file, of which only the whole is a source: give {inside.file}."
        )
    if not fspath(source) or not _exists(path):
        raise InputError(f"No such file or folder: {shown or repr(source)}")
    location = _absolute(path)
    if not is_unicode(location):
        raise InputError(f"The name of {shown} is not valid UTF-8; rename it.")
    if path.is_dir():
        _refuse_row_options(shown, kind, key_prefix, column)
        return ImageFolder(location)
    if not path.is_file():
        raise InputError(f"{shown} is neither a file nor a folder.")
    return _open_file(path, location, kind, key_prefix, column)


def _open_file(path: Path, location: str, kind: str, key_prefix: str, column: str | None) -> Source:
    shown = printable(location)
    if is_archive_name(path.name):
        _refuse_row_options(shown, kind, key_prefix, column)
        return ImageArchive(path.absolute().as_posix(), location)
    if is_image_name(path.name):
        _refuse_row_options(shown, kind, key_prefix, column)
        return ImageFile(path, location)
    if is_array_name(path.name):
        if column is not None and not holds_several(path.name):
            raise UsageError(f"column names an array of .npz or HDF5; {shown} holds one only.")
        return open_array_file(path, location, kind, key_prefix, column)
    raise InputError(f"Cannot tell what {shown} is. Understood are {UNDERSTOOD}.")


def _refuse_row_options(shown: str, kind: str, key_prefix: str, column: str | None) -> None:
    """Refuse what means nothing for images in files of their own."""
    if key_prefix:
        raise UsageError(
            f"key_prefix is for array files, whose keys are row numbers; in {shown} the keys are "
            "paths."
        )
    if kind == "vectors":
        raise InputError(f"Expected vectors (.npy, .npz, HDF5 or IDX), got images: {shown}")
    if column is not None:
        raise UsageError(f"column names an array of .npz or HDF5; {shown} holds images.")


def _exists(path: Path) -> bool:
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


def _unknown(source: object) -> str:
    return (
        f"Expected a path, an array, or an iterable of (key, value), got {type(source).__name__}; "
        f"a path is {UNDERSTOOD}."
    )
