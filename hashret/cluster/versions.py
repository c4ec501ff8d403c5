"""What ``current.json`` tells: which files the newest version of a shard has, and where they lie.

A file that did not change keeps the place where an older version has put it, so that a version
costs what is new in it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any, Self

from hashret.errors import DamagedIndexError, UnknownFormatError
from hashret.files import regular_only
from hashret.store.own_files import SEAL_FILE
from hashret.store.seal import Seal

CURRENT_FILE = "current.json"
VERSION_FILE = "version.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of a version.

    Attributes:
        size: in bytes.
        sha256: of its content, in hexadecimal.
        at: where it lies, relative to the shard.
    """

    size: int
    sha256: str
    at: str


@dataclass(frozen=True)
class Version:
    """One published state of a shard.

    Attributes:
        name: a number that grows, and some random letters.
        generation: of the database, by which changes that were not published are found.
        files: by their names in the folder of an index.
    """

    name: str
    generation: int
    files: Mapping[str, PublishedFile]

    @property
    def number(self) -> int:
        """How many versions there were before it, and this one."""
        return number_of(self.name)

    def is_like(self, other: Version) -> bool:
        """Whether both hold the same; where files lay, which the seal tells, is all the same."""
        return _contents(self) == _contents(other)

    def own(self) -> dict[str, PublishedFile]:
        """The files that no version before it had."""
        start = f"{self.name}/"
        return {name: file for name, file in self.files.items() if file.at.startswith(start)}

    def places(self) -> set[str]:
        """Where all its files lie."""
        return {file.at for file in self.files.values()} | {f"{self.name}/{VERSION_FILE}"}

    @classmethod
    def after(
        cls, before: Version | None, folder: Path, segments: list[str], *, sharing: bool = True
    ) -> Self:
        """The version that the index in ``folder`` would be, which is at rest.

        Args:
            before: the version before it.
            folder: of the index.
            segments: the names of those that belong to it.
            sharing: whether files that did not change stay where they are.

        Raises:
            OSError: a file cannot be read.
        """
        number = 1 if before is None else before.number + 1
        name = f"{number:08}-{secrets.token_hex(4)}"
        known = {file.sha256: file for file in before.files.values()} if before and sharing else {}
        files = {}
        for path in _files_of(folder, segments):
            own_name = path.relative_to(folder).as_posix()
            digest = digest_of(path)
            here = PublishedFile(path.stat().st_size, digest, f"{name}/{own_name}")
            files[own_name] = known.get(digest, here)
        seal = Seal.read(folder)
        return cls(name, 0 if seal is None else seal.generation, files)

    def to_json(self) -> bytes:
        """The content of ``current.json``."""
        told = {
            "format": FORMAT,
            "version": self.name,
            "generation": self.generation,
            "files": {name: asdict(file) for name, file in self.files.items()},
        }
        return (json.dumps({**told, "sha256": _digest(told)}, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes, place: str) -> Self:
        """Read the content of the ``current.json`` at ``place``.

        Raises:
            DamagedIndexError: it is not what :meth:`to_json` writes.
            UnknownFormatError: another hashret wrote it.
        """
        try:
            told = json.loads(content)
            expected = told.pop("sha256")
            found, version = told["format"], told["version"]
            files = {name: PublishedFile(**file) for name, file in told["files"].items()}
            own = cls(version, told["generation"], files)
            inside = all(map(_is_inside, [*files, *(file.at for file in files.values())]))
            whole = expected == _digest(told) and inside and own.number > 0
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            whole = found = None
        if found is not None and found != FORMAT:
            raise UnknownFormatError(
                place, found, (FORMAT, FORMAT), "Use the hashret that published it."
            )
        if not whole:
            raise DamagedIndexError(
                f"{place} is damaged: it is not as hashret wrote it. Put the {VERSION_FILE} of the "
                "newest version beside it in its place."
            )
        return own


def number_of(name: str) -> int:
    """The number in the name of a version; 0 for any other name."""
    number, _, chance = name.partition("-")
    return int(number) if number.isdecimal() and chance.isalnum() else 0


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with FileIO(path, opener=regular_only) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files_of(folder: Path, segments: list[str]) -> list[Path]:
    """The files that an index is made of, without locks, logs and what is unfinished."""
    found = [folder / "items.db", folder / SEAL_FILE]
    for name in ("encoder", *(f"segments/{segment}" for segment in segments)):
        found += (path for path in sorted((folder / name).glob("*")) if path.name[0] != ".")
    return found


def _contents(version: Version) -> dict[str, str]:
    return {name: file.sha256 for name, file in version.files.items() if name != SEAL_FILE}


def _digest(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
