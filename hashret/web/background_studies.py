"""What takes longer than a visitor waits: worked out once, aside, and remembered for a while."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

from hashret.progress import Progress, ProgressCallback
from hashret.web.problems import Problem

_REMEMBERED = 16
_MOST_WAITING = 4
_AT_A_TIME = 2

Work = Callable[[ProgressCallback], dict[str, Any]]


class Study:
    """One piece of work.

    Attributes:
        progress: how far it has come; None before anything was told.
    """

    def __init__(self, closing: threading.Event) -> None:
        """Nothing is done yet."""
        self._closing = closing
        self.progress: Progress | None = None
        self.found: Future[dict[str, Any]] | None = None

    def told(self, progress: Progress) -> None:
        """Note how far it has come; the end of the server is the end of the work."""
        if self._closing.is_set():
            raise _busy()
        self.progress = progress


class Studies:
    """Does the work in threads of their own, so that queries go on meanwhile."""

    def __init__(self) -> None:
        """Make no thread yet."""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._known: OrderedDict[Hashable, Study] = OrderedDict()
        self._places = threading.Semaphore(_AT_A_TIME)

    async def found(self, name: Hashable, work: Work, seconds: float) -> dict[str, Any] | Study:
        """What the work of this name finds, begun if it was not; itself, if that takes longer.

        What failed is raised, and begun anew by the next who asks.

        Raises:
            Problem: too much else is waiting (503).
        """
        study = self._begun(name, work)
        future = study.found
        if future is None:
            raise _busy()
        await asyncio.wait([asyncio.wrap_future(_follower(future))], timeout=seconds)
        if not future.done():
            return study
        if future.exception() is not None:
            with self._lock:
                if self._known.get(name) is study:
                    del self._known[name]
        return future.result()

    def _begun(self, name: Hashable, work: Work) -> Study:
        with self._lock:
            study = self._known.get(name)
            if study is not None:
                self._known.move_to_end(name)
                return study
            waiting = sum(
                one.found is not None and not one.found.done() for one in self._known.values()
            )
            if waiting >= _MOST_WAITING:
                raise _busy()
            study = self._known[name] = Study(self._closing)
            study.found = Future()
            # The process does not wait for it when it ends: nothing is written.
            threading.Thread(
                target=self._work,
                args=(work, study, study.found),
                name="hashret-study",
                daemon=True,
            ).start()
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return study

    def _work(self, work: Work, study: Study, found: Future[dict[str, Any]]) -> None:
        with self._places:
            try:
                if self._closing.is_set():
                    raise _busy()
                found.set_result(work(study.told))
            except BaseException as error:
                found.set_exception(error)

    def close(self) -> None:
        """Begin nothing more, and end what is being done."""
        self._closing.set()


def _follower(future: Future[dict[str, Any]]) -> Future[None]:
    """Done when the other is, whatever came of it; who gives up waiting for it cancels nothing."""
    follower: Future[None] = Future()

    def done(_: Future[dict[str, Any]]) -> None:
        if not follower.cancelled():
            follower.set_result(None)

    future.add_done_callback(done)
    return follower


def _busy() -> Problem:
    return Problem(
        503,
        "The server is busy with other studies.",
        "Ask again in a moment.",
        kind="BusyError",
        headers={"Retry-After": "5"},
    )
