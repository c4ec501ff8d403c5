"""The library of iofault.c from Python: compiled, preloaded, set going; and the log it writes."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("iofault.c")
LIBRARY = "HASHRET_IOFAULT"
"""Names the compiled library to processes that are started with it preloaded."""

_HEAD = struct.Struct("=c7xQQQQ")


class NoCompilerError(Exception):
    """There is no C compiler to make the library with."""


def compile_library(folder: Path) -> Path:
    """Compile the library into ``folder``.

    Raises:
        NoCompilerError: there is no ``cc``.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompilerError("No C compiler: on Debian, apt-get install gcc libc6-dev.")
    library = folder / "iofault.so"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [
            compiler,
            "-O2",
            *warnings,
            "-shared",
            "-fPIC",
            "-o",
            library,
            SOURCE,
            "-ldl",
            "-lpthread",
        ],
        check=True,
    )
    return library


def environment(library: Path) -> dict[str, str]:
    """What a process is started with to have the library preloaded."""
    return {**os.environ, "LD_PRELOAD": str(library), LIBRARY: str(library)}


def _loaded() -> ctypes.CDLL:
    library = ctypes.CDLL(os.environ[LIBRARY])
    library.iofault_calls.restype = library.iofault_reads.restype = ctypes.c_long
    return library


def arm(folder: Path, action: str) -> None:
    """From now on, let calls under ``folder`` go as ``action`` says (see iofault.c)."""
    _loaded().iofault_arm(os.fsencode(folder.resolve()), action.encode())


def disarm() -> None:
    """Let every call go its way again."""
    _loaded().iofault_disarm()


def mark(text: str) -> None:
    """Put a text into the log that is being recorded, such as that something is acknowledged."""
    _loaded().iofault_mark(text.encode())


def counted() -> tuple[int, int]:
    """The changing and the reading calls since :func:`arm`."""
    return _loaded().iofault_calls(), _loaded().iofault_reads()


@dataclass(frozen=True)
class Change:
    """One line of a recorded log.

    Attributes:
        type: ``W``rite, ``T``runcate, ``F`` allocate, ``S``ync, ``C``reate, ``M``kdir, ``R``ename,
            ``U``nlink (of a folder, too), or ``A`` for what :func:`mark` said.
        inode: of the file or folder.
        offset: where a write begins; the length after a truncation or allocation.
        data: what was written; the old path of a renaming.
        text: the path, or what was marked.
    """

    type: str
    inode: int
    offset: int
    data: bytes
    text: str


def read_log(path: Path) -> Iterator[Change]:
    """The changes that a process recorded, in their order."""
    content = path.read_bytes()
    place = 0
    while place < len(content):
        kind, inode, offset, length, length2 = _HEAD.unpack_from(content, place)
        data = place + _HEAD.size
        text = data + length
        place = text + length2
        words = os.fsdecode(content[text:place])
        yield Change(kind.decode(), inode, offset, content[data:text], words)
