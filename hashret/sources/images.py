"""Image files as a source: one file, or a folder with all its sub-folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hashret.errors import InputError
from hashret.files import open_regular
from hashret.sources.folders import TEXT_SUFFIXES, FileFolder, read_files
from hashret.sources.item import Item, Source
from hashret.sources.metadata import printable

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
        with open_regular(Path(path)) as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise InputError(f"larger than {MAX_FILE_BYTES >> 20:,} MiB; scale it down first")
            return file.read()
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
        """Take a file, and where it can be found again; nothing is read yet."""
        super().__init__()
        self.description = f"1 image, {printable(path.name)}"
        self.location = self.root = location
        self._path = path.absolute()

    def _items(self, positions: Sequence[int]) -> Iterator[Item]:
        entries = [(self.root or "", dict[str, str]()) for _ in positions]
        yield from read_files(entries, lambda _: read_image_bytes(self._path), self._skipped)


class ImageFolder(FileFolder):
    """All image files in a folder and its sub-folders."""

    kind = "images"
    noun = "image"
    suffixes = SUFFIXES
    rivals = (TEXT_SUFFIXES, "--kind text takes the texts instead")
    otherwise = "Array files (IDX, .npy, .npz) are given one by one, by their own path."

    def _read(self, path: str) -> bytes:
        return read_image_bytes(path)
