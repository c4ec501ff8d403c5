"""Files of lines as bytes, numbered, and lines that are JSON objects each."""

from __future__ import annotations

import gzip
import json
import stat
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO

from hashret.errors import InputError
from hashret.files import open_regular
from hashret.sources.reading import reading

LINES_AT_A_TIME = 4096
MOST_LINE_BYTES = 1 << 24


def long_number(digits: str) -> int | str:
    """A whole number of JSON; text where it has more digits than Python turns into one."""
    try:
        return int(digits)
    except ValueError:
        return digits


def json_object(line: str | bytes) -> dict[str, Any]:
    """The object that a line of JSON holds.

    Raises:
        InputError: it is none; the message is the reason alone.
    """
    try:
        try:
            value = json.loads(line)
        except ValueError as error:
            if isinstance(error, json.JSONDecodeError | UnicodeError):
                raise
            value = json.loads(line, parse_int=long_number)  # which takes longer
    except json.JSONDecodeError as error:
        told = error.msg.removesuffix(" at")
        column = min(error.pos, len(error.doc.rstrip())) + 1
        raise InputError(f"it is not JSON: {told}, column {column:,}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is not JSON that can be read: {error}") from error
    return as_object(value)


def as_object(value: Any) -> dict[str, Any]:
    """A JSON value, which must be an object.

    Raises:
        InputError: it is none; the message is the reason alone.
    """
    if not isinstance(value, dict):
        raise InputError(f"it is no JSON object, but of type {type(value).__name__}")
    return value


def numbered_objects(path: str | PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbers, from 1, and contents of the lines of a file, a JSON object each."""
    for block in _blocks(numbered_lines(path)):
        first = block[0][0]
        try:
            # Many at once are six times as fast. Where lines look like objects, one that goes on
            # over the end of its line holds another, which fields cannot.
            if not all(line[:1] == b"{" and line[-1:] == b"}" for _, line in block):
                raise ValueError
            records = json.loads(b"[" + b",\n".join([line for _, line in block]) + b"]")
        except (ValueError, RecursionError):
            records = []
        if len(records) != len(block) or not all(type(one) is dict for one in records):
            records = (_object(path, number, line) for number, line in block)
        yield from enumerate(records, start=first)


def _blocks(lines: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Some thousand lines at a time, fewer where they are long."""
    block: list[tuple[int, bytes]] = []
    n_bytes = 0
    for number, line in lines:
        block.append((number, line))
        n_bytes += len(line)
        if len(block) == LINES_AT_A_TIME or n_bytes > MOST_LINE_BYTES:
            yield block
            block, n_bytes = [], 0
    if block:
        yield block


def _object(path: str | PathLike[str], number: int, line: bytes) -> dict[str, Any]:
    try:
        return json_object(line)
    except InputError as error:
        raise InputError(f"Line {number} of {fspath(path)}: {error}.") from error


def numbered_lines(path: str | PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """Numbers, from 1, and contents of the lines of a file."""
    with _opened(Path(path)) as file:
        for number in count(1):
            line = file.readline(MOST_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > MOST_LINE_BYTES:
                raise InputError(
                    f"Line {number} of {path} has more than {MOST_LINE_BYTES >> 20} MiB, which no "
                    "item has; it is no file of one item a line."
                )
            yield number, (line if number > 1 else line.removeprefix(BOM_UTF8)).rstrip(b"\r\n")


def check_regular(path: Path) -> None:
    """Refuse what cannot be read more than once, such as a pipe."""
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError) as error:
        raise InputError(
            f"Cannot read {path}: {getattr(error, 'strerror', None) or error}."
        ) from error
    if not is_file:
        raise InputError(
            f"{path} is no regular file: codes, keys and fields are read more than once, which a "
            "pipe or a folder cannot be. Write them into a file first."
        )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    check_regular(path)
    with reading(path), open_regular(path) as raw:
        if path.name.lower().endswith(".gz"):
            with gzip.open(raw, "rb") as file:
                yield file
        else:
            yield raw
