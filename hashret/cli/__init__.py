"""The command line: thin commands over :class:`hashret.Index`."""

from __future__ import annotations

import os
import sys
from io import StringIO

import click

from hashret.cli import (
    cluster_commands,
    codes_commands,
    duplicates_command,
    evaluate_command,
    export_command,
    index_command,
    items_commands,
    maintenance_commands,
    outliers_command,
    plot_command,
    query_command,
    serve_command,
)
from hashret.cli.groups import HelpfulGroup
from hashret.cli.interrupts import (
    forget_unhandled,
    interrupt_came,
    interrupted_exit_code,
    listening,
)
from hashret.cli.messages import say
from hashret.cli.options import INDEX_NAMED
from hashret.errors import HashretError

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _InOrder(HelpfulGroup):
    """A group whose help lists commands as they were added: what comes first, first.

    Attributes:
        index_named: whether the latest command was given an index that is there.
    """

    index_named = False

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command, and note whether it was given an index."""
        self.index_named = False
        try:
            return super().invoke(ctx)
        finally:
            folder = ctx.meta.get(INDEX_NAMED)
            self.index_named = folder is not None and (folder / "items.db").is_file()


_HELP = """Learn compact binary codes from a dataset, and search them exactly.

\b
hashret index photos/ -i holiday                learn, encode and store
hashret query photos/cat.jpg -i holiday         the ten nearest
hashret query photos/cat.jpg -i holiday -r 2    only those within 2 bits

An index is a folder under ./indexes (or $HASHRET_INDEXES); -i takes its name or its path, and may
be left out where there is one index only. Results go to stdout, everything else to stderr. Exit
codes: 0 done, 1 failed, 2 wrong usage, 3 done but --strict and inputs were skipped,
130 interrupted, 143 asked to end (SIGTERM).
"""


@click.group(cls=_InOrder, help=_HELP, context_settings=_CONTEXT)
@click.version_option(package_name="hashret", message="hashret %(version)s")
def cli() -> None:
    """Hold the commands."""


for command in (
    index_command.index,
    query_command.query,
    items_commands.info,
    items_commands.items,
    items_commands.remove,
    codes_commands.encode,
    codes_commands.reconstruct,
    outliers_command.outliers,
    duplicates_command.duplicates,
    export_command.export,
    evaluate_command.evaluate,
    plot_command.plot,
    serve_command.serve,
    maintenance_commands.verify,
    maintenance_commands.compact,
    cluster_commands.cluster,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; every failure is one message on stderr and an exit code."""
    # Keras would leave a file of settings in the home, and these commands need none.
    os.environ.setdefault("KERAS_HOME", os.devnull)
    with listening():
        code = _run()
    if interrupt_came():
        forget_unhandled()
    sys.exit(code)


def _run() -> int:
    code = 1
    try:
        code = cli.main(prog_name="hashret", standalone_mode=False) or 0
    except click.exceptions.Exit as error:
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = _interrupted()
    except click.ClickException as error:
        _show(error)
        code = error.exit_code
    except Exception as error:
        # What a library makes of an interrupt is no error of its own.
        code = _interrupted() if interrupt_came() else _explain(error)
    return code


def _show(error: click.ClickException) -> None:
    """As click does, but for arguments that would speak to the terminal."""
    text = StringIO()
    error.show(text)
    say(text.getvalue().rstrip("\n"))


def _interrupted() -> int:
    say("Interrupted." + " What was stored before is whole." * cli.index_named)
    return interrupted_exit_code()


def _explain(error: Exception) -> int:
    """Say what went wrong, and return the exit code."""
    if isinstance(error, HashretError):
        notes = getattr(error, "__notes__", [])
        say("\n".join([f"Error: {error}", *notes]))
        return error.exit_code
    if isinstance(error, OSError):
        say(f"Error: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    elif isinstance(error, MemoryError):
        say("Error: out of memory. Give fewer items at a time, or use a machine with more.")
    elif os.environ.get("HASHRET_DEBUG"):
        raise error
    else:
        say(
            f"Error: hashret met something it did not foresee: {type(error).__name__}: {error}. "
            "Nothing stored was changed by it. Set HASHRET_DEBUG=1 to see where, and report it."
        )
    return 1
