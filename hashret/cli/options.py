"""Options that several commands share, and the index they name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from hashret.errors import IndexNotFoundError, UsageError

if TYPE_CHECKING:
    from hashret.index.index import Index

_Command = TypeVar("_Command", bound=Callable[..., Any])

INDEX_NAMED = "hashret.index"
"""Under this, the context of a command remembers the folder of its index."""
KINDS = ("auto", "images", "text", "vectors")


def only_html(_: click.Context, __: click.Parameter, file: Path | None) -> Path | None:
    """Refuse the name of another kind of file, which a page would replace."""
    if file is not None and file.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html writes a page: its file ends in .html, got {file}.")
    return file


def indexes_folder() -> Path:
    """Where indexes are kept by name."""
    return Path(os.environ.get("HASHRET_INDEXES") or "indexes")


def index_names() -> list[str]:
    """The names of the indexes that are there, in alphabetical order."""
    folder = indexes_folder()
    if not folder.is_dir():
        return []
    names = (path.parent.name for path in folder.glob("*/items.db"))
    return sorted(name for name in names if not name.startswith("."))


def index_path(name: str | None, *, must_exist: bool = True) -> Path:
    """The folder of an index named by ``-i``: a name, a path, or nothing where there is only one.

    Raises:
        UsageError: no name was given and there are several indexes, or none.
        IndexNotFoundError: there is no such index.
    """
    path = _named_path(name, must_exist=must_exist)
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[INDEX_NAMED] = path
    return path


def _named_path(name: str | None, *, must_exist: bool) -> Path:
    names = index_names()
    if name is None:
        if len(names) == 1:
            return indexes_folder() / names[0]
        found = f"there are {', '.join(names)}" if names else f"none in {indexes_folder()}"
        raise UsageError(f"Name an index with -i ({found}).")
    if not name.strip():
        raise UsageError("-i needs the name of an index or its path, got an empty text.")
    is_path = os.sep in name or name in (".", "..")
    path = Path(name) if is_path else indexes_folder() / name
    if not path.exists() and (Path(name) / "items.db").is_file():
        path = Path(name)
    if must_exist and not path.is_dir():
        known = f" There are: {', '.join(names)}." if names else ""
        raise IndexNotFoundError(
            f"There is no index at {path}.{known} Make one with `hashret index SOURCE -i {name}`."
        )
    return path


def open_index(name: str | None) -> Index:
    """Open the index that ``-i`` names."""
    from hashret.index.index import Index

    return Index.open(index_path(name))


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in index_names() if name.startswith(incomplete)]


def stdin_lines() -> list[str]:
    """What stdin holds, one path or key a line; bytes that are no text stay as they are."""
    lines = os.fsdecode(sys.stdin.buffer.read()).split("\n")
    return [line.removesuffix("\r") for line in lines if line.strip()]


def _index_option(text: str) -> Callable[[_Command], _Command]:
    return click.option(
        "-i", "--index", "index_name", metavar="NAME", shell_complete=_complete, help=text
    )


index_option = _index_option(
    "Index: a name under ./indexes, or a path. Not needed where there is one index only."
)
indexes_option = click.option(
    "-i",
    "--index",
    "index_names",
    metavar="NAME",
    multiple=True,
    shell_complete=_complete,
    help="Index, as often as there are: a name under ./indexes, or a path. Not needed where there "
    "is one index only.",
)
new_index_option = _index_option("Index to make or to add to: a name under ./indexes, or a path.")

where_option = click.option(
    "--where",
    metavar="SQL",
    help='Only items for which this holds, such as "label = 9"; it can name fields and key.',
)


def _fetch(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from hashret.sources import fetching

        context.with_resource(fetching())


fetch_option = click.option(
    "--fetch",
    is_flag=True,
    expose_value=False,
    callback=_fetch,
    help="Fetch the values of items again that came from URLs; they are left out otherwise.",
)


class Limit(click.ParamType[int | None]):
    """A number of items, or ``all``."""

    name = "limit"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """A whole number of at least 1; None for ``all``."""
        if value is None or value == "all":
            return None
        try:
            number = int(value)
        except ValueError:
            number = 0
        if not 1 <= number < 2**63:
            self.fail(f"{value!r} is neither a number of at least 1 nor 'all'.", param, ctx)
        return number
