"""Image files as a source: one file, or a folder with all its sub-folders."""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hashret.errors import InputError
from hashret.sources.item import Item, Skipped, Source, is_gone
from hashret.sources.metadata import is_unicode, printable

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)
MAX_FILE_BYTES = 1 << 30


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122, a Path for each is slow


def read_image_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read an image file whole, without decoding it.

    Raises:
        InputError: it cannot be read; the message is the reason alone.
    """
    try:
        status = Path(path).stat()
        # Opening a named pipe would wait for a writer.
        if not stat.S_ISREG(status.st_mode):
            raise InputError("not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise InputError(f"larger than {MAX_FILE_BYTES >> 20:,} MiB; scale it down first")
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        broken = Path(path).is_symlink()
        raise InputError("a broken symbolic link" if broken else "no such file") from error
    except OSError as error:
        raise InputError((error.strerror or str(error)).lower()) from error
    except ValueError as error:
        raise InputError(str(error)) from error


class ImageFile(Source):
    """One image file. Its key is its absolute path."""

    kind = "images"
    length = 1

    def __init__(self, path: Path, location: str) -> None:
        """Take a file and its absolute path; nothing is read yet."""
        super().__init__()
        self.description = f"1 image, {printable(path.name)}"
        self.location = self._path = location

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        yield from _read_items([(self._path, {}) for _ in positions], self._skipped)


class ImageFolder(Source):
    """All image files in a folder and its sub-folders, in the order of their paths.

    A key is the file's absolute path. An image in a sub-folder has the field ``label``, the name
    of the sub-folder of the first level. Hidden files and folders are ignored, and links to
    folders are not followed.

    Raises:
        InputError: there is no image in it.
    """

    kind = "images"

    def __init__(self, location: str) -> None:
        """List the folder of this absolute path; no image is read yet."""
        super().__init__()
        self.location = location
        self._unlisted: list[Skipped] = []
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
                if is_image_name(name):
                    paths.append(f"{folder.rstrip('/')}/{name}")
                elif os.path.islink(path := f"{folder}/{name}") and not os.path.exists(path):  # noqa: PTH110, PTH114, the same
                    self._unlisted.append(Skipped(printable(path), "a broken symbolic link"))
                else:
                    others[os.path.splitext(name)[1].lower()] += 1  # noqa: PTH122
        self.ignored = others.total()
        notes = _ignored_text(others) + (
            f"; links to folders not followed: {links:,}" * bool(links)
        )
        if not paths:
            notes += "".join(
                f"; {unlisted.name} is {unlisted.reason}" for unlisted in self._unlisted
            )
            raise InputError(
                f"No images in {printable(location)} or its sub-folders: looked for "
                f"{', '.join(sorted(SUFFIXES))}{notes or '; it is empty'}. Array files (IDX, .npy, "
                ".npz) are given one by one, by their own path."
            )
        self._paths = sorted(paths)
        self._label_start = len(location.rstrip("/")) + 1
        self.length = len(paths)
        labels = {label for path in paths if (label := self._label(path)) is not None}
        self.description = (
            f"{len(paths):,} image{'s' * (len(paths) > 1)} in {printable(location)}"
            f"{f', labelled by {len(labels):,} sub-folders' if labels else ''}{notes}"
        )

    def paths(self) -> list[str]:
        """The keys, sorted: the absolute path of each image."""
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
        yield from _read_items(
            ((path, {} if label is None else {"label": label}) for path, label in labelled),
            self._skipped,
        )

    def _label(self, path: str) -> str | None:
        label, separator, _ = path[self._label_start :].partition("/")
        return label if separator else None

    def _note_unlisted(self, error: OSError) -> None:
        reason = f"a folder that cannot be listed: {(error.strerror or str(error)).lower()}"
        self._unlisted.append(Skipped(printable(os.fspath(error.filename)), reason))


def _read_items(
    entries: Iterable[tuple[str, dict[str, str]]],
    skipped: list[Skipped],
) -> Iterator[Item]:
    for path, fields in entries:
        if not is_unicode(path):
            skipped.append(Skipped(printable(path), "its name is not valid UTF-8; rename it"))
            continue
        try:
            content = read_image_bytes(path)
        except InputError as error:
            skipped.append(Skipped(path, str(error)))
            continue
        yield Item(path, content, fields)


def _ignored_text(others: Counter[str]) -> str:
    if not others:
        return ""
    by_suffix = ", ".join(
        f"{count:,} {printable(suffix) or 'without suffix'}"
        for suffix, count in sorted(others.items(), key=lambda entry: (-entry[1], entry[0]))[:3]
    )
    total = others.total()
    return f"; {total:,} other file{'s' * (total > 1)} ignored ({by_suffix})"
