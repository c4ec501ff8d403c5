"""Understand what is given as a source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hashret.errors import InputError, NoEncoderError, UsageError
from hashret.sources.arrays import STEM, open_array
from hashret.sources.inside import split_inside
from hashret.sources.item import Source
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.objects import open_mappings, open_object
from hashret.sources.pairs import PairSource, differ_in_size, is_pair
from hashret.sources.paths import UNDERSTOOD, open_path, path_exists, refuse_reading
from hashret.sources.remote import is_url
from hashret.sources.several import Several
from hashret.sources.sparse import is_sparse
from hashret.sources.tables import Reading

_SHOWN = 40
KINDS = ("auto", "images", "text", "vectors")


def open_source(
    source: Any,
    kind: str = "auto",
    key_prefix: str = "",
    *,
    column: str | None = None,
    id_column: str | None = None,
    sql: str | None = None,
    encoding: str | None = None,
    format: str | None = None,  # noqa: A002, what users of other libraries look for
    earlier: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Source:
    """Open what a user gives as data.

    Args:
        source: a path or URL, or a list of these: a folder of images or texts (with its
            sub-folders, whose names become the field ``label``), an image or ``.md`` file, an
            archive of images (.zip, .tar, .tar.gz, ...), an IDX file (gzipped or not; the labels
            file beside it becomes ``label``), a .npy, .npz, HDF5, .fvecs, .bvecs or .ivecs file, a
            table (CSV, TSV, JSON, JSON lines, ``.txt`` of one text a line, Parquet, SQLite), or
            ``"-"``, a table on standard input, with its ``format``. Or Python data: an array of
            shape (n, d) of vectors, (n, height, width) or (n, height, width, 1 or 3) of ``uint8``
            images, a sparse matrix, a list of images of any sizes, or an iterable of (key, value)
            or (key, value, fields). An iterator is read into a list at once, because a source is
            iterated more than once. With ``kind="text"``,
            strings in a list are texts, and their places in it the keys; else they are paths.
            Mappings in a list are the rows of a table. Or a table of pandas, pyarrow, polars or
            Hugging Face datasets, or a Bunch of scikit-learn.
        kind: ``"images"``, ``"text"`` or ``"vectors"`` overrule what ``"auto"`` sees.
        key_prefix: what the keys of an array file, array or table begin with, before the number of
            the row or the key in the table; ``{stem}`` stands for the file's name without suffixes.
        column: the column of a table, or the array of an HDF5 or .npz file, that holds the values;
            None guesses by names and contents.
        id_column: the column of a table that holds the keys; ``""`` takes the numbers of the rows,
            None guesses by names.
        sql: the query whose rows are the table, for an SQLite file, which is only read.
        encoding: of text files, such as ``"latin-1"``; None for UTF-8.
        format: ``"csv"``, ``"tsv"``, ``"json"``, ``"jsonl"``, ``"lines"``, ``"parquet"`` or
            ``"sqlite"``, whatever the file's name says.
        earlier: which columns were taken of which tables before (:attr:`Source.columns_taken`);
            they are taken again where none is named.

    Returns:
        A source. The records of tables are counted, and their keys read, before it is iterated;
        a URL is fetched. Arrays on disk are mapped or, in HDF5, read as they are asked for; only
        compressed .npz and IDX files are read before.

    Raises:
        InputError: there is no such file, or it cannot be used as the message says.
        UsageError: an unknown ``kind``, a ``key_prefix`` where keys are paths, or options of tables
            for something else.

    Example:
        >>> [item.key for item in open_source([[0.0, 1.0], [2.0, 3.0]])]
        ['0', '1']
    """
    _check_options(kind, key_prefix)
    reading = Reading(column, id_column, sql, encoding, format, earlier)
    if isinstance(source, str | PathLike):
        return open_path(source, kind, key_prefix, reading)
    if (opened := open_object(source, kind, key_prefix, reading)) is not None:
        return opened
    entries = _entries(source)
    if kind == "text" and entries and any(isinstance(entry, str) for entry in entries):
        refuse_reading(reading, "Python data")
        return _open_texts(entries, key_prefix)
    if entries and all(isinstance(entry, Mapping) for entry in entries):
        return open_mappings(entries, kind, key_prefix, reading)
    if entries and all(isinstance(entry, str | PathLike) for entry in entries):
        _check_are_paths(entries)
        return _open_paths(entries, kind, key_prefix, reading)
    refuse_reading(reading, "Python data")
    if _is_array(source):
        if kind == "text" and not is_sparse(source):
            return _open_texts(np.asarray(source), key_prefix)
        return open_array(source, kind, key_prefix)
    if not entries:
        raise InputError("The source is empty: expected paths, rows or (key, value) pairs.")
    if not is_pair(entries[0]):
        if differ_in_size(entries):
            if STEM in key_prefix:
                raise UsageError(
                    f"{STEM} in key_prefix is the name of a file, and images have none."
                )
            pairs = [(f"{key_prefix}{n}", image) for n, image in enumerate(entries)]
            return PairSource(pairs, kind)
        return open_array(entries, kind, key_prefix)
    if key_prefix:
        raise UsageError("key_prefix is for row numbers; pairs have keys of their own.")
    return PairSource(entries, kind)


def open_paths(
    paths: Sequence[str | PathLike[str]],
    kind: str = "auto",
    key_prefix: str = "",
    *,
    earlier: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    **reading: Any,
) -> Source:
    """Open paths, which strings always are here; otherwise as :func:`open_source`."""
    _check_options(kind, key_prefix)
    return _open_paths(paths, kind, key_prefix, Reading(**reading, earlier=earlier))


def _open_paths(
    paths: Sequence[str | PathLike[str]], kind: str, key_prefix: str, reading: Reading
) -> Source:
    parts = [open_path(path, kind, key_prefix, reading) for path in paths]
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


def _entries(source: Any) -> Sequence[Any]:
    """What an iterable gives; nothing of an array, whose rows are not looked at one by one."""
    if _is_array(source):
        return ()
    if hasattr(source, "readline"):
        raise InputError(f"Expected the path of a file, got an open one{_path_of(source)}.")
    if isinstance(source, Mapping):
        raise InputError("Expected (key, value) pairs, got a mapping; pass mapping.items().")
    if isinstance(source, bytes | bytearray) or not isinstance(source, Iterable):
        raise InputError(_unknown(source))
    return source if isinstance(source, list | tuple) else list(source)


def _is_array(source: Any) -> bool:
    return hasattr(source, "__array__") or isinstance(source, memoryview) or is_sparse(source)


def _path_of(file: Any) -> str:
    name = getattr(file, "name", None)
    return f": pass {printable(name)!r}" if isinstance(name, str) else ""


def _check_are_paths(entries: Sequence[Any]) -> None:
    """Refuse strings of which none is a path, as texts that are meant as such are not."""
    if not any(isinstance(one, PathLike) or one == "-" or _may_be_path(one) for one in entries):
        shown = entries[0] if len(entries[0]) <= _SHOWN else f"{entries[0][:_SHOWN]}…"
        raise InputError(
            f"No such file or folder: {printable(shown)}"
            + (f", nor any of the {len(entries) - 1:,} others" if len(entries) > 1 else "")
            + '. Strings in a list are paths; kind="text" makes them texts.'
        )


def _may_be_path(text: str) -> bool:
    try:
        return is_url(text) or split_inside(text) is not None or path_exists(Path(text))
    except InputError:
        return False


def _open_texts(texts: Iterable[Any], key_prefix: str) -> Source:
    """Texts whose keys are their places."""
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            shown = "None" if text is None else f"of type {type(text).__name__}"
            raise InputError(f"Item {number:,} is {shown}, expected text.")
    if STEM in key_prefix:
        raise UsageError(f"{STEM} in key_prefix is the name of a file, and texts have none.")
    return PairSource([(f"{key_prefix}{n}", text) for n, text in enumerate(texts)], "text")


def _unknown(source: object) -> str:
    return (
        f"Expected a path, an array, or an iterable of (key, value), got {type(source).__name__}; "
        f"a path is {UNDERSTOOD}."
    )
