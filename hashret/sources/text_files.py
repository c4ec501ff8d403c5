"""Text files as a source: one file, or a folder with all its sub-folders."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hashret.errors import InputError
from hashret.files import open_regular
from hashret.sources.folders import TEXT_SUFFIXES, FileFolder, read_files
from hashret.sources.item import Item, Source
from hashret.sources.locations import with_options
from hashret.sources.metadata import printable
from hashret.sources.reading import DEFAULT_ENCODING, check_encoding, not_decoded

DOCUMENT_SUFFIXES = TEXT_SUFFIXES - {".txt"}
"""A file of these is one text wherever it is; one of ``.txt`` is, in a folder."""

MAX_FILE_BYTES = 1 << 26


def is_text_name(name: str) -> bool:
    """Whether a file of this name is taken for one text."""
    return os.path.splitext(name)[1].lower() in DOCUMENT_SUFFIXES  # noqa: PTH122


def is_readable_text(name: str) -> bool:
    """Whether a file of this name can be read as one text."""
    return os.path.splitext(name)[1].lower() in TEXT_SUFFIXES  # noqa: PTH122


def read_text(path: str | os.PathLike[str], encoding: str = DEFAULT_ENCODING) -> str:
    """Read a file as one text.

    Raises:
        InputError: it cannot be read, or is no text; the message is the reason alone.
    """
    try:
        with io.TextIOWrapper(open_regular(Path(path)), encoding) as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise InputError(f"larger than {MAX_FILE_BYTES >> 20:,} MiB; split it")
            text = file.read()
    except FileNotFoundError as error:
        broken = Path(path).is_symlink()
        raise InputError("a broken symbolic link" if broken else "no such file") from error
    except OSError as error:
        raise InputError((error.strerror or str(error)).lower()) from error
    except UnicodeError as error:
        raise InputError(not_decoded(encoding)) from error
    except ValueError as error:
        raise InputError(str(error)) from error
    if "\0" in text:
        raise InputError("it is no text: it holds null characters")
    if not text or text.isspace():
        raise InputError("there is nothing in it")
    return text


def _read_as(path: str, encoding: str) -> str:
    """A location that tells the encoding where it is not the usual one."""
    return with_options(path, {} if encoding == DEFAULT_ENCODING else {"encoding": encoding})


class TextFile(Source):
    """One text file. Its key is its absolute path."""

    kind = "text"
    length = 1

    def __init__(self, path: Path, location: str, encoding: str | None = None) -> None:
        """Take a file, and where it can be found again; nothing is read yet."""
        super().__init__()
        self._encoding = check_encoding(encoding)
        self.description = f"1 text, {printable(path.name)}"
        self.root, self._path = location, path.absolute()
        self.location = _read_as(location, self._encoding)

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        entries = [(self.root or "", dict[str, str]()) for _ in positions]
        yield from read_files(
            entries, lambda _: read_text(self._path, self._encoding), self._skipped
        )


class TextFolder(FileFolder):
    """All text files in a folder and its sub-folders, each of them one text."""

    kind = "text"
    noun = "text"
    suffixes = TEXT_SUFFIXES
    otherwise = "Tables (CSV, JSON lines, ...) are given one by one, by their own path."

    def __init__(self, location: str, encoding: str | None = None) -> None:
        """List the folder of this absolute path; no file is read yet."""
        self._encoding = check_encoding(encoding)
        super().__init__(location)
        self.location = _read_as(location, self._encoding)

    def _read(self, path: str) -> str:
        return read_text(path, self._encoding)
