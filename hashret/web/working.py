"""Work in threads: a bounded number at a time, and a bounded number waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hashret.web.problems import Problem
from hashret.web.settings import Limits

_T = TypeVar("_T")


class Workers:
    """Threads for what takes longer than the event loop may be held up.

    Attributes:
        in_flight: how much is worked on or waiting.
    """

    def __init__(self, limits: Limits) -> None:
        """Make no thread yet."""
        self.in_flight = 0
        self._most = limits.threads + limits.waiting
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="hashret-web")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do the work in a thread.

        Raises:
            Problem: too much is waiting already (503).
        """
        if self.in_flight >= self._most:
            raise Problem(
                503,
                "The server is busy.",
                "Ask again in a second, and fewer at a time.",
                kind="BusyError",
                headers={"Retry-After": "1"},
            )
        self.in_flight += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # Work whose request was given up goes on until it ends, and counts until then.
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def _done(self, future: asyncio.Future[_T]) -> None:
        self.in_flight -= 1
        if not future.cancelled():
            future.exception()  # looked at, so that nothing complains where nobody waits any more

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)
