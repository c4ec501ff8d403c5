"""``hashret query``: the items nearest to a file, a key or a code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hashret.cli.messages import say, warnings_to_stderr
from hashret.cli.options import (
    Limit,
    fetch_option,
    index_option,
    only_html,
    open_index,
    stdin_lines,
    where_option,
)
from hashret.cli.output import Output, output_options
from hashret.errors import HashretError, InputError, UsageError

if TYPE_CHECKING:
    from hashret.index.index import Index
    from hashret.index.result import Result

_Command = TypeVar("_Command", bound=Callable[..., Any])


def asking_options(*orders: str) -> Callable[[_Command], _Command]:
    """The options of a query: what is looked for, how far, and how hits are ordered.

    Args:
        orders: of hits at one distance, the default first.
    """
    told = {
        "row": "as they were added",
        "key": "by key",
        "certainty": "first those that differ from VALUE in bits that are less certain",
    }
    *others, last = [told[order] for order in orders]
    options = (
        click.option("--key", help="Search with the code of the item that has this key."),
        click.option("--code", metavar="HEX", help="Search with a code in hexadecimal."),
        click.option(
            "--file",
            metavar="PATH",
            help="Search with what a file holds: as VALUE, but a text file in an index of texts "
            "too.",
        ),
        click.option(
            "--encoding",
            metavar="NAME",
            help="Of a text in --file, such as latin-1.  [default: utf-8]",
        ),
        click.option(
            "-r",
            "--radius",
            type=click.IntRange(min=0),
            help="Only hits that differ in at most so many bits. Without it, rings grow up to the "
            "limit.",
        ),
        click.option(
            "-k",
            "--limit",
            type=Limit(),
            default=10,
            show_default=True,
            help="Most hits; 'all' takes every one within the radius of -r.",
        ),
        where_option,
        click.option(
            "--order",
            type=click.Choice(orders),
            default=orders[0],
            show_default=True,
            help=f"Hits at one distance: {', '.join(others)}{',' * (len(others) > 1)} or {last}.",
        ),
        click.option(
            "--rerank",
            is_flag=True,
            help="Order the nearest by the exact distance of their features (see index "
            "--keep-vectors).",
        ),
        click.option(
            "--shortlist",
            type=click.IntRange(min=1),
            metavar="N",
            help="How many of the nearest to re-rank.  [default: 10 times the limit, at least 100]",
        ),
        click.option(
            "--explain",
            is_flag=True,
            help="Tell plan, probes, candidates, time and expected time on stderr, and which bits "
            "differ.",
        ),
    )

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command()
@click.argument("value", required=False)
@index_option
@asking_options("row", "key", "certainty")
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=only_html,
    help="Also write the answer as a page with pictures and bits, one file. Needs the extra 'web'.",
)
@fetch_option
@output_options(paths=True)
@click.pass_context
def query(
    context: click.Context, /, index_name: str | None, page: Path | None, **asked: Any
) -> None:
    """Find the items nearest to VALUE: exact matches, then one bit away, two, ...

    VALUE is an image, an array file, or one row of an array file (vectors.npy#17); for an index of
    texts, the words to look for: hashret query "a program to look at photos". "-" reads paths or
    keys from stdin, one a line, or texts.
    """
    check_asked(asked)
    if page is not None and asked["value"] == "-":
        raise UsageError("--html shows one answer; with - there may be several.")
    warnings_to_stderr()
    with open_index(index_name) as index:

        def write(result: Result, shown: str | None) -> None:
            if page is not None:
                key, where = asked["key"], asked["where"]
                _write_page(page, index, result, value=shown, key=key, where=where)

        write_answers(context, index, asked, answered=write)


def check_asked(asked: Mapping[str, Any]) -> None:
    """Refuse none and several things to look for, and all there is.

    Raises:
        UsageError: which.
    """
    if sum(asked[name] is not None for name in ("value", "key", "code", "file")) != 1:
        raise UsageError("Give one of VALUE, --key, --code and --file.")
    if asked["encoding"] is not None and asked["file"] is None:
        raise UsageError("--encoding is that of the text in --file.")
    if asked["limit"] is None and asked["radius"] is None:
        raise UsageError("-k all needs a radius (-r); `hashret items` lists all items.")


def write_answers(
    context: click.Context,
    index: Any,
    asked: Mapping[str, Any],
    *,
    answered: Callable[[Result, str | None], None] = lambda *_: None,
    fields: Sequence[str] | None = None,
    **more: Any,
) -> None:
    """Ask an index, or what has its methods, and write what it answers.

    Args:
        context: of the command, which ends with 1 where a line of stdin has no answer.
        index: is asked.
        asked: the options of :func:`asking_options`, and ``value``.
        answered: told of the one answer, where there is but one, and of what was looked for.
        fields: names of columns; None for those of all fields of the index.
        more: arguments of the query methods.
    """
    output = Output.of(context)
    wanted = {
        name: asked[name] for name in ("radius", "limit", "where", "order", "rerank", "shortlist")
    }
    columns = [
        "rank",
        "distance",
        *(["vector_distance"] if asked["rerank"] else []),
        "similarity",
        "key",
        *(["flipped"] if asked["explain"] else []),
    ]
    failed: list[str] = []
    names = index.field_names if fields is None else list(fields)
    ask = _Asking(index, {**wanted, **more}, explain=asked["explain"])
    if asked["value"] == "-":
        output.write(ask.lines(stdin_lines(), failed), ["query", *columns], names)
    else:
        result, shown = ask.once(asked)
        answered(result, shown)
        output.write(ask.rows(result), columns, names)
    if failed:
        say(f"{len(failed):,} line{'s' * (len(failed) > 1)} could not be answered.")
        context.exit(1)


def _write_page(
    page: Path,
    index: Index,
    result: Result,
    *,
    value: str | None,
    key: str | None,
    where: str | None,
) -> None:
    from hashret.files import whole_file

    try:
        from hashret.web.one_file import answer_page
    except ModuleNotFoundError as error:
        raise HashretError(
            f"--html needs the extra 'web' ({error.name} is missing): pip install 'hashret[web]'."
        ) from error
    with whole_file(page, overwrite=True) as out:
        out.write(answer_page(index, result, value=value, key=key, where=where))
    say(f"Wrote {page}")


def _names_file(value: str | None) -> bool:
    try:
        return bool(value) and Path(value or "").is_file()
    except (OSError, ValueError):
        return False


class _Asking:
    """The rows of answers, and on stderr what there is to tell about them."""

    def __init__(self, index: Any, wanted: dict[str, Any], *, explain: bool) -> None:
        self._index = index
        self._wanted = wanted
        self._explain = explain

    def once(self, asked: Mapping[str, Any]) -> tuple[Result, str | None]:
        """The one answer, and the value that was looked for."""
        value, file = asked["value"], asked["file"]
        if asked["key"] is not None:
            return self._index.query_key(asked["key"], **self._wanted), value
        if asked["code"] is not None:
            return self._index.query_code(asked["code"], **self._wanted), value
        if file is not None:
            from hashret.sources.locations import with_options
            from hashret.sources.values import read_value

            encoding = asked["encoding"]
            content = read_value(
                file if encoding is None else with_options(file, {"encoding": encoding})
            )
            shown = content if isinstance(content, str) else file
            return self._index.query(content, **self._wanted), shown
        if self._index.kind == "text" and _names_file(value):
            say(f"{value} is a file, and its name was searched for: --file takes what it holds.")
        return self._index.query(value, **self._wanted), value

    def lines(self, names: list[str], failed: list[str]) -> Iterator[dict[str, Any]]:
        """Rows for each key, path or text; those without an answer are named, and noted."""
        # A key has no certainties, the file it names has; and a line of text may look like a key.
        by_key = self._wanted["order"] != "certainty" and self._index.kind != "text"
        for name in names:
            try:
                if by_key and name in self._index:
                    result = self._index.query_key(name, **self._wanted)
                else:
                    result = self._index.query(name, **self._wanted)
            except UsageError:
                raise
            except InputError as error:
                shown = name.encode("utf-8", "backslashreplace").decode()
                say(f"{shown}: {'no such key, and ' * by_key}{error}")
                failed.append(name)
                continue
            for row in self.rows(result, name):
                yield {"query": name, **row}

    def rows(self, result: Result, name: str | None = None) -> Iterator[dict[str, Any]]:
        """A row for each hit."""
        _tell(result, name, explain=self._explain)
        for hit in result:
            row = hit.to_dict()
            if self._explain:
                row.update(flipped=result.explain(hit), stats=asdict(result.stats))
            yield row


def _tell(result: Result, name: str | None, *, explain: bool) -> None:
    about = "" if name is None else f"{name}: "
    if result.missing_shards:
        say(f"{about}without {', '.join(result.missing_shards)}, which cannot be reached.")
    if explain:
        stats = result.stats
        rings = ", ".join(f"{distance}: {len(hits)}" for distance, hits in result.rings.items())
        say(
            f"{about}{stats.plan}; {stats.probes:,} probes, {stats.candidates:,} candidates, "
            f"{stats.seconds * 1e3:.3f} ms ({stats.estimated_seconds * 1e3:.3f} ms expected); "
            f"hits by distance: {rings or 'none'}"
        )
    if not result:
        say(f"{about}no hits.")
    elif result.radius is not None and len(result) == result.limit:
        say(f"{about}the first {result.limit} hits; -k all shows every one within the radius.")
