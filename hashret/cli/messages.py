"""What is said on stderr, and how text of others is shown."""

from __future__ import annotations

import logging

import click


def on_one_line(text: str) -> str:
    r"""Text in which nothing moves the cursor or speaks to the terminal: ``\n``, ``\x1b``, ...

    Names of files and keys may hold anything.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def say(message: str) -> None:
    """Write lines on stderr."""
    click.echo("\n".join(map(on_one_line, message.split("\n"))), err=True)


class _OnOneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return on_one_line(super().format(record))


def warnings_to_stderr() -> None:
    """Show what the library has to say (a damaged segment answered for, say) as one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OnOneLine("Warning: %(message)s"))
    logger = logging.getLogger("hashret")
    if not logger.handlers:
        logger.addHandler(handler)
