"""Progress on stderr: bars on a terminal, one line a finished stage elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hashret.cli.interrupts import stop_if_interrupted
from hashret.cli.messages import say

if TYPE_CHECKING:
    from hashret.progress import Progress

_TITLES = {
    "reading": "Reading",
    "features": "Learning words",
    "learning": "Learning",
    "storing": "Storing",
    "encoding": "Encoding",
    "tables": "Building tables",
    "exporting": "Exporting",
}


class ProgressDisplay:
    """Shows a long piece of work; call it with every :class:`~hashret.progress.Progress`."""

    def __init__(self) -> None:
        """Nothing is shown until the first call."""
        self._stage = ""
        self._started = 0.0
        self._last: Progress | None = None

    def __enter__(self) -> Self:
        """Take the terminal, if stderr is one."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars
        from rich.table import Column

        def whole() -> Column:
            return Column(no_wrap=True)

        console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description:<15}", table_column=whole()),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            MofNCompleteColumn(table_column=whole()),
            TimeElapsedColumn(table_column=whole()),
            TimeRemainingColumn(compact=True, table_column=whole()),
            TextColumn("{task.fields[note]}", table_column=whole()),
            expand=True,
            console=console,
            disable=not sys.stderr.isatty() or console.is_dumb_terminal,
        )
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the terminal back."""
        if error is None:
            self._finish()
        self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        """Show how far the work has come; here an interrupt is heard that was dropped before."""
        stop_if_interrupted()
        title = _TITLES[progress.stage]
        if progress.stage != self._stage:
            self._finish()
            self._stage, self._started = progress.stage, time.perf_counter()
            self._task = self._bars.add_task(title, total=progress.total, note=progress.note)
        self._bars.update(
            self._task, completed=progress.done, total=progress.total, note=progress.note
        )
        self._last = progress

    def _finish(self) -> None:
        if self._last is None:
            return
        last, self._last = self._last, None
        if not self._bars.disable:
            done = last.total if last.total is not None else max(last.done, 1)
            self._bars.update(self._task, completed=done, total=done)
            return
        seconds = time.perf_counter() - self._started
        count = f"{last.done:,}" if last.stage not in ("learning", "tables") else ""
        details = ", ".join(part for part in (count, last.note) if part)
        say(f"{_TITLES[last.stage]}: {details + ', ' if details else ''}{seconds:.1f} s")
