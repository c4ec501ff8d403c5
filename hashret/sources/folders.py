"""A folder with all its sub-folders as a source: every file of one kind is an item."""

from __future__ import annotations

import os
from abc import abstractmethod
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from hashret.errors import InputError
from hashret.sources.item import Item, Source, is_gone
from hashret.sources.metadata import is_unicode, printable
from hashret.sources.skipped import Skipped, SkippedInputs

TEXT_SUFFIXES = frozenset({".md", ".markdown", ".txt"})
"""Of the files that are texts, each of them one, in a folder."""


class NoSuchFilesError(InputError):
    """A folder holds no file of the kind that was looked for.

    Attributes:
        notes: what it holds instead.
    """

    def __init__(self, nouns: str, location: str, suffixes: Iterable[str], notes: str) -> None:
        """Say what was looked for, and where."""
        super().__init__(
            f"No {nouns} in {printable(location)} or its sub-folders: looked for "
            f"{', '.join(sorted(suffixes))}{notes}"
        )
        self.notes = notes


class FileFolder(Source):
    """All files of one kind in a folder and its sub-folders, in the order of their paths.

    A key is the file's absolute path. A file in a sub-folder has the field ``label``, the name
    of the sub-folder of the first level. Hidden files and folders are ignored, and links to
    folders are not followed.

    Attributes:
        noun: what an item is called.
        suffixes: what the names of its files end in, in lower case.
        otherwise: what to do where there is none.
        rivals: suffixes of files that may have been meant, where there are far more of them, and
            what to do then.

    Raises:
        NoSuchFilesError: there is not one such file in it.
    """

    noun: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    otherwise: ClassVar[str]
    rivals: ClassVar[tuple[frozenset[str], str]] = (frozenset(), "")
    divisible = True

    def __init__(self, location: str) -> None:
        """List the folder of this absolute path; no file is read yet."""
        super().__init__()
        self.location = self.root = location
        self._unlisted = SkippedInputs()
        self._away: dict[str, bool] = {}
        paths: list[str] = []
        others: Counter[str] = Counter()
        links = 0
        for folder, subfolders, names in os.walk(location, onerror=self._note_unlisted):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            links += sum(os.path.islink(f"{folder}/{name}") for name in subfolders)  # noqa: PTH114, the same
            for name in names:
                if name.startswith("."):
                    continue
                suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122, a Path for each is slow
                if suffix in self.suffixes:
                    paths.append(f"{folder.rstrip('/')}/{name}")
                elif os.path.islink(path := f"{folder}/{name}") and not os.path.exists(path):  # noqa: PTH110, PTH114, the same
                    self._unlisted.append(Skipped(printable(path), "a broken symbolic link"))
                else:
                    others[suffix] += 1
        self.ignored = others.total()
        notes = ignored_text(others) + (f"; links to folders not followed: {links:,}" * bool(links))
        if not paths:
            notes += "".join(
                f"; {unlisted.name} is {unlisted.reason}" for unlisted in self._unlisted
            )
            notes = f"{notes or '; it is empty'}. {self.otherwise}"
            raise NoSuchFilesError(f"{self.noun}s", location, self.suffixes, notes)
        if sum(others[suffix] for suffix in self.rivals[0]) > 2 * len(paths):
            notes += f"; {self.rivals[1]}"
        self._paths = sorted(paths)
        self._label_start = len(location.rstrip("/")) + 1
        self.length = len(paths)
        labels = {label for path in paths if (label := self._label(path)) is not None}
        self.description = (
            f"{len(paths):,} {self.noun}{'s' * (len(paths) > 1)} in {printable(location)}"
            f"{f', labelled by {len(labels):,} sub-folder' if labels else ''}"
            f"{'s' * (len(labels) > 1)}{notes}"
        )

    def named_keys(self) -> list[str]:
        """The keys, sorted: the absolute path of each file."""
        return self._paths

    def holds(self, key: str) -> bool:
        """Whether a file is in the folder, as far as can be told: it is, unless it is gone."""
        place = bisect_left(self._paths, key)
        listed = place < len(self._paths) and self._paths[place] == key
        if listed or not (is_gone(key) or os.path.isdir(key)):  # noqa: PTH112, the same
            return True
        return self._is_away(os.path.dirname(key))  # noqa: PTH120, the same

    def _is_away(self, folder: str) -> bool:
        """Whether a folder below this one is a link to nothing: a disk that is away."""
        if len(folder) < self._label_start:
            return False
        if folder not in self._away:
            is_link = os.path.islink(folder) and not os.path.exists(folder)  # noqa: PTH110, PTH114, the same
            self._away[folder] = is_link or self._is_away(os.path.dirname(folder))  # noqa: PTH120, the same
        return self._away[folder]

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        self._skipped.extend(self._unlisted)
        paths = (self._paths[position] for position in positions)
        labelled = ((path, self._label(path)) for path in paths)
        yield from read_files(
            ((path, {} if label is None else {"label": label}) for path, label in labelled),
            self._read,
            self._skipped,
        )

    @abstractmethod
    def _read(self, path: str) -> Any:
        """The value of a file; an InputError's message is the reason why it has none."""

    def _label(self, path: str) -> str | None:
        label, separator, _ = path[self._label_start :].partition("/")
        return label if separator else None

    def _note_unlisted(self, error: OSError) -> None:
        reason = f"a folder that cannot be listed: {(error.strerror or str(error)).lower()}"
        self._unlisted.append(Skipped(printable(os.fspath(error.filename)), reason))


def read_files(
    entries: Iterable[tuple[str, dict[str, str]]],
    read: Callable[[str], Any],
    skipped: SkippedInputs,
) -> Iterator[Item]:
    """Items of files, given by path and fields; those that cannot be read go to ``skipped``."""
    for path, fields in entries:
        if not is_unicode(path):
            skipped.append(Skipped(printable(path), "its name is not valid UTF-8; rename it"))
            continue
        try:
            content = read(path)
        except InputError as error:
            skipped.append(Skipped(path, str(error)))
            continue
        yield Item(path, content, fields)


def ignored_text(others: Counter[str]) -> str:
    """How many files were left alone, by the suffixes that were met most often."""
    if not others:
        return ""
    by_suffix = ", ".join(
        f"{count:,} {printable(suffix) or 'without suffix'}"
        for suffix, count in sorted(others.items(), key=lambda entry: (-entry[1], entry[0]))[:3]
    )
    total = others.total()
    return f"; {total:,} other file{'s' * (total > 1)} ignored ({by_suffix})"
