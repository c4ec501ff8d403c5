"""An archive of images as a source."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hashret.errors import InputError
from hashret.sources.archive_files import Member, latest_archive
from hashret.sources.folders import ignored_text
from hashret.sources.images import SUFFIXES, is_image_name
from hashret.sources.item import Item, Source
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.skipped import Skipped, SkippedInputs


class ImageArchive(Source):
    """The images in a zip or tar archive, in the order in which they lie there.

    A key is the absolute path of the archive, ``/`` and the name in the archive, which is only a
    name: nothing is unpacked. Below the folders that all images share, the name of the next one is
    the field ``label``. Hidden files and folders are ignored, and links are not followed.

    Raises:
        InputError: the archive cannot be read, or there is no image in it.
    """

    kind = "images"

    def __init__(self, path: str, location: str) -> None:
        """List the archive at a path; ``location`` is where it can be found again."""
        super().__init__()
        self.location = self.root = location
        self._path = path
        archive, by_name = latest_archive(path)
        others: Counter[str] = Counter()
        self._members: list[Member] = []
        self._left_out = SkippedInputs()
        for member in archive.members:
            if any(part.startswith(".") for part in _parts(member.name)):
                continue
            if not is_image_name(member.name):
                others[os.path.splitext(member.name)[1].lower()] += 1  # noqa: PTH122
            elif not is_unicode(member.name) or "\0" in member.name:
                self._leave_out(member, "its name is no text that can be stored; rename it")
            elif by_name[member.name] is not member:
                self._leave_out(member, "another file of this name follows in the archive")
            else:
                self._members.append(member)
        if archive.cut:
            self._left_out.append(Skipped(printable(location), f"{archive.cut}; get it again"))
        self.ignored = others.total()
        notes = ignored_text(others)
        if not self._members:
            why = "".join(f"; {one.name} {one.reason}" for one in self._left_out[:3])
            raise InputError(
                f"No images in {printable(location)}: looked for "
                f"{', '.join(sorted(SUFFIXES))}{notes}{why}."
            )
        self._shared = _shared_depth(member.name for member in self._members)
        self.length = len(self._members)
        labels = {self._label(member) for member in self._members} - {None}
        self.description = (
            f"{self.length:,} image{'s' * (self.length > 1)} in {printable(Path(location).name)}"
            f"{f', labelled by {len(labels):,} folder' if labels else ''}"
            f"{'s' * (len(labels) > 1)}{notes}"
        )

    def named_keys(self) -> Iterator[str]:
        """The keys, in order."""
        return (f"{self.location}/{member.name}" for member in self._members)

    def holds(self, key: str) -> bool:
        """Whether there is a file of this key in the archive; there may be in one that is cut."""
        archive, by_name = latest_archive(self._path)
        return bool(archive.cut) or key.removeprefix(f"{self.location}/") in by_name

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        self._skipped.extend(self._left_out)
        for position in positions:
            member = self._members[position]
            key = f"{self.location}/{member.name}"
            try:
                archive, by_name = latest_archive(self._path)
                if by_name.get(member.name) != member:
                    raise InputError("the archive has changed while it was read")
                content = archive.read(member)
            except InputError as error:
                self._skipped.append(Skipped(printable(key), str(error)))
                continue
            label = self._label(member)
            yield Item(key, content, {} if label is None else {"label": label})

    def _label(self, member: Member) -> str | None:
        below = _parts(member.name)[self._shared : -1]
        return below[0] if below else None

    def _leave_out(self, member: Member, reason: str) -> None:
        self._left_out.append(Skipped(printable(f"{self.location}/{member.name}"), reason))


def _shared_depth(names: Iterable[str]) -> int:
    """How many folders all these names begin with."""
    shared: list[str] | None = None
    for name in names:
        folders = _parts(name)[:-1]
        if shared is None:
            shared = folders
        while shared != folders[: len(shared)]:
            shared.pop()
    return len(shared or ())


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".", "..")]
