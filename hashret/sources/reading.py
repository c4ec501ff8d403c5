"""Text files as a stream of lines, decompressed and decoded, with bounded memory."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from hashret.errors import InputError, UsageError
from hashret.files import open_regular
from hashret.sources.metadata import printable

T = TypeVar("T")

MAX_CHARACTERS = 1 << 24
"""The longest line, cell or JSON value that is read."""

DEFAULT_ENCODING = "utf-8-sig"
_UNDECODED = "its text is not "
NOT_DECODED = _UNDECODED + "{}; --encoding (encoding= in Python) names another, such as latin-1"

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_NULL = "\udc00"
"""Stands for a null character, which no line of text holds; not valid Unicode, as wrong bytes."""


def check_encoding(encoding: str | None) -> str:
    """The name of a text encoding; UTF-8 with or without its mark where none is given.

    Raises:
        UsageError: Python knows no such encoding of text.
    """
    if encoding is None:
        return DEFAULT_ENCODING
    try:
        codec = codecs.lookup(encoding)
        is_text = getattr(codec, "_is_text_encoding", True) and codec.incrementaldecoder
        if is_text:
            # Some, such as idna, cannot go on after bytes that they do not know.
            codec.incrementaldecoder("surrogateescape").decode(b"")
    except (LookupError, TypeError, ValueError):
        is_text = False
    if not is_text:
        raise UsageError(f"encoding must be one such as utf-8 or latin-1, got {encoding!r}.")
    return DEFAULT_ENCODING if codec.name == "utf-8" else encoding


def not_decoded(encoding: str, text: str = "") -> str:
    """Why a line or file is left out that has other bytes than its encoding allows."""
    if _NULL in text:
        return "it is no text: it holds null characters"
    return NOT_DECODED.format("UTF-8" if encoding == DEFAULT_ENCODING else encoding)


def is_not_decoded(problem: str) -> bool:
    """Whether this is the reason that :func:`not_decoded` gives for another encoding."""
    return problem.startswith(_UNDECODED)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what reading a file may raise into an InputError that names it."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{printable(str(path))} is cut short, damaged, or followed by something else "
            f"({error}); get or make it again."
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"Cannot read {printable(str(path))}: {reason}.") from error
    except UnicodeError as error:
        raise InputError(
            f"Cannot read {printable(str(path))}: {error}. --encoding (encoding= in Python) names "
            "the encoding of its text."
        ) from error


@contextmanager
def opened_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """A file as text; gzipped ones are decompressed, and wrong bytes become lone surrogates.

    Raises:
        InputError: it cannot be read, or is no text.
    """
    with reading(path), open_regular(path) as file:
        head = file.read(2)
        file.seek(0)
        binary = gzip.GzipFile(fileobj=file) if head == _GZIP else file
        with io.TextIOWrapper(binary, encoding, "surrogateescape", newline="") as text:
            yield text


def text_lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file with their line breaks, one after the other.

    Raises:
        InputError: it cannot be read, holds null characters, or a line is too long.
    """
    with opened_text(path, encoding) as file:
        count, rest, line_break = 0, "", ""
        while chunk := file.read(_CHUNK):
            if not line_break:
                # As old Macs and some spreadsheets write it.
                line_break = "\n" if "\n" in chunk or "\r" not in chunk[:-1] else "\r"
            if not count and "\0" in chunk:
                raise InputError(
                    f"{printable(str(path))} is no text: it holds null characters. If it is text "
                    "in another encoding, --encoding (encoding= in Python) names it, such as "
                    "utf-16."
                )
            lines = (rest + chunk.replace("\0", _NULL)).split(line_break)
            rest = lines.pop()
            for line in lines:
                yield line + "\n"
            count += len(lines)
            if len(rest) > MAX_CHARACTERS:
                raise InputError(
                    f"Line {count + 1:,} of {printable(str(path))} has more than "
                    f"{MAX_CHARACTERS:,} characters, the longest that is read; split it."
                )
        if rest:
            yield rest


def picked(things: Iterable[T], positions: Iterable[int] | None) -> Iterator[tuple[int, T]]:
    """Those of a stream at these ascending positions, each with its own; None picks all."""
    if positions is None:
        yield from enumerate(things)
        return
    wanted = iter(positions)
    following = next(wanted, None)
    if following is None:
        return
    for position, thing in enumerate(things):
        if position == following:
            yield position, thing
            following = next(wanted, None)
            if following is None:
                return
