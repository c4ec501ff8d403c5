"""Commands of commands."""

from __future__ import annotations

import click

from hashret.errors import UsageError


class HelpfulGroup(click.Group):
    """A group that names the help of the command that was used wrongly."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; what goes wrong is told with what only its context knows."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if not hasattr(error, "__notes__"):  # else of a group within this one
                error.add_note(f"Try '{ctx.command_path} {ctx.invoked_subcommand} --help'.")
            raise
