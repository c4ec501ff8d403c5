"""Where an index is, and whether one is there."""

from __future__ import annotations

import os
from pathlib import Path

from hashret.errors import HashretError, IndexNotFoundError, UsageError


def index_folder(path: str | Path) -> Path:
    """The folder of an index, absolute.

    Raises:
        UsageError: it is not named by a path.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"The folder of an index is named by a path, got {path!r}.")
    return Path(path).expanduser().absolute()


def has_items(folder: Path) -> bool:
    """Whether the database of an index is in a folder.

    Raises:
        HashretError: the folder may not be entered.
    """
    try:
        return (folder / "items.db").is_file()
    except OSError as error:
        raise _unreadable(folder, error) from error


def check_is_index(folder: Path) -> None:
    """Refuse a folder in which there is no index, nor what is left of one.

    Raises:
        IndexNotFoundError: there is neither a database nor an encoder.
        HashretError: the folder may not be entered.
    """
    try:
        is_index = has_items(folder) or (folder / "encoder").is_dir()
    except OSError as error:
        raise _unreadable(folder, error) from error
    if not is_index and (folder / "cluster.json").is_file():
        raise IndexNotFoundError(
            f"{folder} is a cluster, whose shards are indexes: `hashret cluster` has the commands "
            "for it (query, info, index, remove, ...), Python hashret.open_cluster(path)."
        )
    if not is_index:
        raise IndexNotFoundError(
            f"There is no index at {folder}. Make one with `hashret index SOURCE -i NAME` or "
            "hashret.create(path, source)."
        )


def _unreadable(folder: Path, error: OSError) -> HashretError:
    return HashretError(
        f"{folder} cannot be read ({error.strerror or error}); an index is read by a user who may "
        "enter its folder."
    )
