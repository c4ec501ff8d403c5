"""What lies in a zip or tar archive, read without unpacking it to disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

from hashret.errors import InputError
from hashret.files import open_regular
from hashret.sources.metadata import printable

MAX_MEMBER_BYTES = 1 << 28
"""A larger file in an archive is left out, for it is held in memory."""

MAX_RATIO = 2000
"""A compressed tar may unpack to so many times its size, which gzip cannot exceed."""

MAX_RATIO_FROM = 1 << 30
"""A compressed tar may unpack to so many bytes in any case."""

_ENCRYPTED = 0x1
_BLOCK = 512


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: as the archive gives it.
        trouble: why it cannot be read; empty where nothing is known to be wrong.
        place: where it lies: its number in a zip, its first byte in a tar.
        n_bytes: its size.
    """

    name: str
    trouble: str
    place: int
    n_bytes: int


class ArchiveFile:
    """An open zip or tar archive.

    Attributes:
        members: its files, folders left out; of two with one name, only the later is of use.
        cut: where the list of members ends before the archive does, why; otherwise empty.

    Raises:
        InputError: it is no such archive, or cannot be read.
    """

    def __init__(self, path: str) -> None:
        """Open it and list what it holds."""
        self._path = path
        self.members: list[Member] = []
        self.cut = ""
        self._file: BinaryIO | None = None
        self._zip: zipfile.ZipFile | None = None
        self._tar: _Bounded | None = None
        self._lock = threading.Lock()
        try:
            if path.lower().endswith(".zip"):
                self._file = open_regular(Path(path))
                self._zip = zipfile.ZipFile(self._file)
                self.members = list(_zip_members(self._zip))
            else:
                self._tar = _Bounded(path)
                self._list_tar(self._tar)
        except InputError:
            self.close()
            raise
        except Exception as error:  # The archive modules raise anything on damaged data.
            self.close()
            if isinstance(error, OSError) and error.strerror:
                raise InputError(f"Cannot read {printable(path)}: {error.strerror}.") from error
            raise InputError(
                f"{printable(path)} is damaged or not an archive ({error}); get or make it again."
            ) from error

    def __del__(self) -> None:
        """Close the file of an archive that nobody reads any more."""
        with suppress(AttributeError):  # of one that could not be opened
            self.close()

    def close(self) -> None:
        """Close the file."""
        for opened in (self._zip, self._tar, self._file):
            if opened is not None:
                opened.close()

    def read(self, member: Member) -> bytes:
        """The content of a file in the archive.

        Raises:
            InputError: it cannot be read; the message is the reason alone.
        """
        if member.trouble:
            raise InputError(member.trouble)
        if member.n_bytes > MAX_MEMBER_BYTES:
            raise InputError(
                f"larger than {MAX_MEMBER_BYTES >> 20} MiB, which in an archive may be a trap; "
                "unpack it first"
            )
        content = b""
        try:
            if self._zip is not None:
                with self._zip.open(self._zip.infolist()[member.place]) as file:
                    content = file.read(member.n_bytes)
            elif self._tar is not None:
                with self._lock:
                    self._tar.seek(member.place)
                    content = self._tar.read(member.n_bytes)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"damaged in its archive: {error}") from error
        if len(content) != member.n_bytes:
            raise InputError("cut short in its archive")
        return content

    def _list_tar(self, file: _Bounded) -> None:
        try:
            with tarfile.TarFile(fileobj=file) as archive:  # type: ignore[arg-type]
                while (info := archive.next()) is not None:
                    if not info.isdir():
                        self.members.append(_tar_member(info))
                    archive.members.clear()  # type: ignore[attr-defined]  # which would hold a kilobyte of each
                end = archive.offset
            file.seek(end)
            last = file.read(_BLOCK)
            if last.strip(b"\0"):
                raise InputError("the next header is damaged")
            if len(last) < _BLOCK:
                raise InputError("the mark of its end is missing")
        except Exception as error:
            if not self.members:
                raise
            self.cut = f"ends after {len(self.members):,} files: {error}"


class _Bounded:
    """A tar file's bytes, decompressed; refuses to hold too much, or to go on without end."""

    def __init__(self, path: str) -> None:
        name = path.lower()
        opener: Callable[..., Any] | None = None
        if name.endswith((".gz", ".tgz")):
            opener = gzip.open
        elif name.endswith((".bz2", ".tbz2")):
            opener = bz2.open
        elif name.endswith((".xz", ".txz")):
            opener = lzma.open
        self._raw = open_regular(Path(path))
        size = os.fstat(self._raw.fileno()).st_size
        self._end = size if opener is None else max(MAX_RATIO_FROM, MAX_RATIO * size)
        self._file: IO[bytes] = self._raw if opener is None else opener(self._raw, "rb")

    def read(self, n_bytes: int = -1) -> bytes:
        """At most so many bytes from here."""
        if not 0 <= n_bytes <= MAX_MEMBER_BYTES:
            raise InputError("a header asks for more memory than it should")
        return self._file.read(n_bytes)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a byte counted from the start, which is all that tarfile asks for."""
        if whence or place > self._end:
            raise InputError(
                "what follows is more than the file can hold, or unpacks to so much that it may "
                "be a trap"
            )
        return self._file.seek(place)

    def tell(self) -> int:
        """The byte that is next."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()


def read_member(path: str, name: str) -> bytes:
    """The file of this name in an archive, which stays open for the next one.

    Raises:
        InputError: the archive cannot be read, or the file in it.
    """
    archive, by_name = latest_archive(path)
    if name not in by_name:
        raise InputError(f"There is no file {printable(name)} in {printable(path)}.")
    try:
        return archive.read(by_name[name])
    except InputError as error:
        raise InputError(f"Cannot read {printable(f'{path}/{name}')}: {error}.") from error


def latest_archive(path: str) -> tuple[ArchiveFile, dict[str, Member]]:
    """An archive and its files by name; the one that was read last stays open.

    Raises:
        InputError: it cannot be read.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise InputError(f"Cannot read {printable(path)}: {error.strerror}.") from error
    return _opened(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)
def _opened(path: str, _size: int, _modified: int) -> tuple[ArchiveFile, dict[str, Member]]:
    archive = ArchiveFile(path)
    return archive, {member.name: member for member in archive.members}


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for number, info in enumerate(archive.infolist()):
        if not info.is_dir():
            trouble = "encrypted; unpack it first" * bool(info.flag_bits & _ENCRYPTED)
            yield Member(info.filename, trouble, number, info.file_size)


def _tar_member(info: tarfile.TarInfo) -> Member:
    if info.issym() or info.islnk():
        trouble = "a link, which is not followed in an archive"
    elif info.issparse():
        trouble = "a sparse file; unpack it first"
    elif not info.isreg():
        trouble = "not a file"
    else:
        trouble = ""
    return Member(info.name, trouble, info.offset_data, info.size)
