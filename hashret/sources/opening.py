"""Understand what is given as a source, and read the value of a query."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from hashret.errors import InputError, NoEncoderError, UsageError
from hashret.sources.array_files import is_array_name
from hashret.sources.arrays import STEM, open_array, open_array_file, read_row
from hashret.sources.images import (
    SUFFIXES,
    ImageFile,
    ImageFolder,
    is_image_name,
    read_image_bytes,
)
from hashret.sources.item import Source
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.pairs import PairSource, is_pair
from hashret.sources.several import Several

KINDS = ("auto", "images", "text", "vectors")
UNDERSTOOD = (
    f"a folder of images, an image ({', '.join(sorted(SUFFIXES))}), an IDX file (x-idx3-ubyte or "
    "x.idx, gzipped or not), .npy or .npz"
)


def open_source(source: Any, kind: str = "auto", key_prefix: str = "") -> Source:
    """Open what a user gives as data.

    Args:
        source: a path, or a list of paths: a folder of images (with its sub-folders, whose names
            become the field ``label``), an image file, an IDX file (gzipped or not; the labels
            file beside it becomes ``label``), a .npy or .npz file. Or Python data: an array of
            shape (n, d) of vectors, (n, height, width) or (n, height, width, 1 or 3) of ``uint8``
            images, or an iterable of (key, value) or (key, value, fields). An iterator is read
            into a list at once, because a source is iterated more than once. With ``kind="text"``,
            strings in a list are texts, and their places in it the keys; else they are paths.
        kind: ``"images"``, ``"text"`` or ``"vectors"`` overrule what ``"auto"`` sees.
        key_prefix: what the keys of an array file or array begin with, before the number of the
            row; ``{stem}`` stands for the file's name without suffixes.

    Returns:
        A source; nothing but arrays is read before it is iterated.

    Raises:
        InputError: there is no such file, or it cannot be used as the message says.
        UsageError: an unknown ``kind``, or a ``key_prefix`` where the keys are not row numbers.

    Example:
        >>> [item.key for item in open_source([[0.0, 1.0], [2.0, 3.0]])]
        ['0', '1']
    """
    _check_options(kind, key_prefix)
    if isinstance(source, str | PathLike):
        return _open_path(source, kind, key_prefix)
    if hasattr(source, "__array__"):
        if kind == "text":
            return _open_texts(np.asarray(source), key_prefix)
        return open_array(source, kind, key_prefix)
    if isinstance(source, Mapping):
        raise InputError("Expected (key, value) pairs, got a mapping; pass mapping.items().")
    if isinstance(source, bytes | bytearray) or not isinstance(source, Iterable):
        raise InputError(_unknown(source))
    entries = source if isinstance(source, list | tuple) else list(source)
    if not entries:
        raise InputError("The source is empty: expected paths, rows or (key, value) pairs.")
    if kind == "text" and all(isinstance(entry, str) for entry in entries):
        return _open_texts(entries, key_prefix)
    if all(isinstance(entry, str | PathLike) for entry in entries):
        return open_paths(entries, kind, key_prefix)
    if not is_pair(entries[0]):
        return open_array(entries, kind, key_prefix)
    if key_prefix:
        raise UsageError("key_prefix is for row numbers; pairs have keys of their own.")
    return PairSource(entries, kind)


def open_paths(
    paths: Sequence[str | PathLike[str]], kind: str = "auto", key_prefix: str = ""
) -> Source:
    """Open paths, which strings always are here; otherwise as :func:`open_source`."""
    _check_options(kind, key_prefix)
    parts = [_open_path(path, kind, key_prefix) for path in paths]
    return parts[0] if len(parts) == 1 else Several(parts)


def _check_options(kind: str, key_prefix: str) -> None:
    if kind == "codes":
        raise NoEncoderError  # the kind of an index of ready codes, which encodes no source
    if kind not in KINDS:
        raise UsageError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    if not isinstance(key_prefix, str) or not is_unicode(key_prefix):
        raise UsageError(f"key_prefix must be text, got {key_prefix!r}.")
    if re.search(r"[{}]", key_prefix.replace("{stem}", "")):
        raise UsageError(f"key_prefix knows only {{stem}} between braces, got {key_prefix!r}.")


def _open_texts(texts: Iterable[Any], key_prefix: str) -> Source:
    """Texts whose keys are their places."""
    if STEM in key_prefix:
        raise UsageError(f"{STEM} in key_prefix is the name of a file, and texts have none.")
    return PairSource([(f"{key_prefix}{n}", text) for n, text in enumerate(texts)], "text")


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
    given = Path(path)
    row = None
    if (locator := re.fullmatch(r"(.+)#([0-9]{1,18})", fspath(path), re.DOTALL)) and not _exists(
        given
    ):
        given, row = Path(locator[1]), int(locator[2])
    shown = printable(str(given))
    if not _exists(given):
        raise InputError(f"No such file: {shown}")
    if given.is_dir():
        raise InputError(f"Expected one image or array file, got the folder {shown}.")
    if is_array_name(given.name):
        return read_row(given, row)
    if not is_image_name(given.name) or row is not None:
        raise InputError(
            f"Expected an image ({', '.join(sorted(SUFFIXES))}), an array file, or one row of it "
            f"(images-idx3-ubyte.gz#17, vectors.npy#17), got {shown}."
        )
    try:
        return read_image_bytes(given)
    except InputError as error:
        raise InputError(f"Cannot read {shown}: {error}.") from error


def _open_path(source: str | PathLike[str], kind: str, key_prefix: str) -> Source:
    path = Path(source)
    shown = printable(str(path))
    if not str(source) or not _exists(path):
        raise InputError(f"No such file or folder: {shown if str(source) else repr(source)}")
    location = _absolute(path)
    if not is_unicode(location):
        raise InputError(f"The name of {shown} is not valid UTF-8; rename it.")
    is_images = path.is_dir() or is_image_name(path.name)
    if is_images and key_prefix:
        raise UsageError(
            f"key_prefix is for array files, whose keys are row numbers; in {shown} the keys are "
            "paths."
        )
    if is_images and kind == "vectors":
        raise InputError(f"Expected vectors (.npy, .npz or IDX), got images: {shown}")
    if kind == "text" and (is_images or is_array_name(path.name)):
        raise InputError(f"Expected texts, got {'images' if is_images else 'an array'}: {shown}")
    if path.is_dir():
        return ImageFolder(location)
    if not path.is_file():
        raise InputError(f"{shown} is neither a file nor a folder.")
    if is_images:
        return ImageFile(path, location)
    if is_array_name(path.name):
        return open_array_file(path, location, kind, key_prefix)
    raise InputError(f"Cannot tell what {shown} is. Understood are {UNDERSTOOD}.")


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
