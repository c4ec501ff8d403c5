"""Run what releases the interpreter's lock on every core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from threading import Event
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from hashret.errors import UsageError

if TYPE_CHECKING:
    from concurrent.futures import Future

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many codes were gone through and how many will be, each counted in every pass."""

_CORES = len(os.sched_getaffinity(0))
_MOST_SHARES = 8
BLOCK = 1 << 20
TELL_SECONDS = 0.2

_T = TypeVar("_T")
_U = TypeVar("_U")


class _Most:
    """The most threads that :func:`set_threads` allows."""

    threads: int | None = None


def set_threads(n: int | None) -> None:
    """Let searches and builds of this process use at most ``n`` threads; None: one a core.

    Raises:
        UsageError: ``n`` is no integer or below 1.
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise UsageError(f"threads must be an integer of at least 1 or None, not {n!r}.")
    _Most.threads = n


def n_cores() -> int:
    """The threads to use: the cores that this process may use, or fewer by :func:`set_threads`."""
    return _CORES if _Most.threads is None else min(_CORES, _Most.threads)


def in_threads(run: Callable[[_T], _U], tasks: Iterable[_T]) -> list[_U]:
    """Run tasks on all cores; the results come in the order of the tasks."""
    tasks = list(tasks)
    n_threads = min(len(tasks), n_cores())
    if n_threads < 2:
        return [run(task) for task in tasks]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(run, tasks))


def slices(n: int, size: int) -> list[slice]:
    """Cut ``n`` things into slices of at most ``size``."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


class Passes:
    """Goes through codes from first to last, each core through a share of its own.

    Attributes:
        n_shares: the shares.
    """

    def __init__(self, n: int, n_passes: int, progress: Progress | None) -> None:
        """Plan to go ``n_passes`` times through ``n`` codes."""
        self.n_shares = min(n_cores(), _MOST_SHARES)
        self._cuts = [n * i // self.n_shares for i in range(self.n_shares + 1)]
        self._total = n * n_passes
        self._progress = progress
        self._before = 0

    def run(self, visit: Callable[[int, slice], None]) -> None:
        """Call ``visit`` with the number of each share and, one after the other, its blocks.

        If that fails or the progress is interrupted, the other shares stop as well.
        """
        stopped = Event()
        done = [0] * self.n_shares

        def go(share: int) -> None:
            start, stop = self._cuts[share : share + 2]
            for block in slices(stop - start, BLOCK):
                if stopped.is_set():
                    return
                visit(share, slice(start + block.start, start + block.stop))
                done[share] = block.stop

        from concurrent.futures import ThreadPoolExecutor, wait

        with ThreadPoolExecutor(self.n_shares) as pool:
            running: set[Future[None]] = {pool.submit(go, i) for i in range(self.n_shares)}
            try:
                while running:
                    finished, running = wait(running, TELL_SECONDS, "FIRST_COMPLETED")
                    for future in finished:
                        future.result()
                    if self._progress is not None:
                        self._progress(self._before + sum(done), self._total)
            finally:
                stopped.set()
        self._before += sum(done)
