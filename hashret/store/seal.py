"""The seal of an index: by what its files are known to be as hashret left them.

SQLite checks no page of its database, so a byte that was changed there could hide an item. After
every commit the seal notes the CRC-32 of each chunk of the database, the number of the state that
was committed, and stamps: what the file system says of each file, which changes when anything
writes to it. A file with its stamp is trusted without being read; another one, which was copied or
altered, is first read and compared.

The seal itself is derived: without it, the database is checked row by row.
"""

from __future__ import annotations

import json
import os
import secrets
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

from hashret.files import open_regular, read_regular, write_durably
from hashret.store.log import LogEnd
from hashret.store.own_files import SEAL_FILE

CHUNK_BYTES = 1 << 16
_FORMAT = 1
_MOST_BYTES = 1 << 28
"""A seal has some 12 bytes for each chunk: this is that of a database of 1.4 TB."""
_READ_BYTES = 1 << 24
_TICK_NANOSECONDS = 20_000_000

Stamp: TypeAlias = tuple[int, int, int, int]
"""Inode, size in bytes, times of the last change of content and of inode in nanoseconds."""


def stamp_of(path: str | Path) -> Stamp | None:
    """The stamp of a file; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - every query asks, and a Path for each is slow
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def fresh_stamp(path: Path) -> Stamp | None:
    """The stamp of a file that was just written, made so that every later write changes it.

    File systems tell times in ticks of some milliseconds: a write within the same tick would go
    unnoticed. So the time of change becomes one that no tick has.
    """
    with suppress(OSError):
        status = path.stat()
        second = status.st_mtime_ns // 10**9 * 10**9
        os.utime(path, ns=(status.st_atime_ns, second - 1 - secrets.randbelow(10**9 - 1)))
    return stamp_of(path)


def is_settled(stamp: Stamp) -> bool:
    """Whether the file of a stamp was changed so long ago that any later change would show."""
    return time.time_ns() - stamp[3] > _TICK_NANOSECONDS


def stamps_in(folder: Path) -> dict[str, Stamp]:
    """The stamps of the files in a folder, by name."""
    with suppress(OSError):
        stamps = {path.name: stamp_of(path) for path in sorted(folder.iterdir())}
        return {name: stamp for name, stamp in stamps.items() if stamp is not None}
    return {}


@dataclass(frozen=True)
class Seal:
    """What is known of an index's files.

    Attributes:
        generation: the number of the last state that was committed.
        chunks: the CRC-32 of each 64 KiB of the database; None where it may be changing.
        database: the stamp of the database.
        segments: the stamps of the files of each segment, by its name and theirs.
        settings: a copy of the settings, for the repair of a database that has lost them.
        log: how far the write-ahead log had come, where it could not be emptied.
    """

    generation: int
    chunks: list[int | None]
    database: Stamp | None
    segments: Mapping[str, Mapping[str, Stamp]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    log: LogEnd | None = None

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The seal of the index in ``folder``; None if it has none that is whole."""
        try:
            content = json.loads(read_regular(folder / SEAL_FILE, _MOST_BYTES))
            written = content.pop("crc32")
            if written != _crc32_of(content) or content.pop("format") != _FORMAT:
                return None
            seal = cls(**content)
            segments = {
                name: {file: _as_stamp(stamp) for file, stamp in files.items()}
                for name, files in seal.segments.items()
            }
            stamp = None if seal.database is None else _as_stamp(seal.database)
            log = seal.log and LogEnd(seal.log[0], seal.log[1], (seal.log[2][0], seal.log[2][1]))
            chunks = [None if chunk is None else int(chunk) for chunk in seal.chunks]
            return cls(int(seal.generation), chunks, stamp, segments, dict(seal.settings), log)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None

    def write(self, folder: Path) -> None:
        """Put the seal in the place of the one before.

        Raises:
            OSError: it cannot be written.
        """
        content = {"format": _FORMAT, **asdict(self)}
        whole = {**content, "crc32": _crc32_of(content)}
        write_durably(folder / SEAL_FILE, json.dumps(whole).encode())


def _as_stamp(values: Any) -> Stamp:
    inode, size, modified, changed = map(int, values)
    return (inode, size, modified, changed)


def _crc32_of(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def chunk_checksums(path: Path) -> list[int]:
    """The CRC-32 of each chunk of a file.

    Raises:
        OSError: it cannot be read.
    """
    checksums: list[int] = []
    with open_regular(path) as file:
        while block := _read(file, _READ_BYTES):
            view = memoryview(block)
            checksums += [
                zlib.crc32(view[start : start + CHUNK_BYTES])
                for start in range(0, len(block), CHUNK_BYTES)
            ]
    return checksums


def without_chunks(known: Sequence[int | None], changing: set[int]) -> list[int | None]:
    """Checksums by chunk, without those that are about to change; a file may grow by them."""
    last = max(len(known) - 1, *changing, -1)
    left: list[int | None] = [*known, *[None] * (last + 1 - len(known))]
    for number in {*changing, max(len(known) - 1, 0)} if left else ():  # the last may be filled up
        left[number] = None
    return left


def completed(known: Sequence[int | None], path: Path) -> list[int | None]:
    """Checksums of all chunks of a file; of those that are known, none is read.

    Raises:
        OSError: it cannot be read.
    """
    checksums: list[int | None] = []
    with open_regular(path) as file:
        for number in range(-(-os.fstat(file.fileno()).st_size // CHUNK_BYTES)):
            checksum = known[number] if number < len(known) else None
            if checksum is None:
                file.seek(number * CHUNK_BYTES)
                checksum = zlib.crc32(_read(file, CHUNK_BYTES))
            checksums.append(checksum)
    return checksums


def _read(file: Any, size: int) -> bytes:
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
