"""An index of a server, open several times so that no reader waits for another."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from hashret.errors import (
    ASKED_WRONGLY,
    HashretError,
    ShardUnavailableError,
)
from hashret.index.index import Index
from hashret.store.patience import patience
from hashret.store.seal import stamp_of
from hashret.web.problems import Problem

_T = TypeVar("_T")

_ASKED_WRONGLY = (*ASKED_WRONGLY, Problem)
"""Errors after which a reader is as good as before."""

_AT_ONCE_SECONDS = 0.02
"""What the event loop may be held up by, as a rule."""

_SLOW_SECONDS = 1.0
"""Where it is held up longer, questions go to threads for so long."""

_OWN_BUSINESS = ("path", "sources", "learned_from")


class _Reader:
    """An open index, and the stamps of its database when it was last asked."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.stamps: object = None


class ServedIndex:
    """One index by name, for any number of threads.

    An open index answers one thread at a time. So it is opened as often as threads ask at the same
    time; each of these readers follows what other processes commit, as every open index does.

    Attributes:
        name: in addresses.
        path: its folder.
    """

    def __init__(self, name: str, path: Path, query_seconds: float) -> None:
        """Name an index; it is opened when first asked."""
        self.name = name
        self.path = path
        self._query_seconds = query_seconds
        self._database = str(path / "items.db")
        self._idle: deque[_Reader] = deque()
        self._writing = threading.Lock()
        self._facts: tuple[str, dict[str, Any]] | None = None
        self._quick_from = 0.0
        self._usual_seconds = 0.0

    @contextmanager
    def reader(self) -> Iterator[Index]:
        """An open index that nobody else uses meanwhile.

        Conditions on fields are given up after a time. After an error that may lie in the files the
        index is opened anew for the next who asks: it may have been repaired or replaced.
        """
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = _Reader(self._opened())
        with self._used(reader, self._stamps()) as index:
            yield index

    def _opened(self) -> Index:
        index = Index.open(self.path)
        index.reader.finds_paths = False
        return index

    @contextmanager
    def _used(self, reader: _Reader, stamps: object) -> Iterator[Index]:
        fine = False
        try:
            with patience(self._query_seconds):
                yield reader.index
            fine = True
        except _ASKED_WRONGLY as error:
            fine = True
            # Where on this machine the index lies is not told to others.
            error.args = tuple(str(one).replace(str(self.path), self.name) for one in error.args)
            raise
        finally:
            if fine:
                reader.stamps = stamps
                self._idle.append(reader)
            else:
                reader.index.close()

    def _stamps(self) -> object:
        return stamp_of(self._database), stamp_of(f"{self._database}-wal")

    def ask(self, question: Callable[[Index], _T]) -> _T:
        """Put a question to a reader; once more to a new one, where the index was replaced."""
        try:
            with self.reader() as index:
                return question(index)
        except (*_ASKED_WRONGLY, ShardUnavailableError):
            raise
        except HashretError:
            self.close()
            with self.reader() as index:
                return question(index)

    def ask_at_once(self, question: Callable[[Index], _T]) -> _T | None:
        """Put a question that is answered in no time; None where it may take longer now.

        For the event loop, which nothing else gets past meanwhile: going to a thread and back takes
        as long as many a search. Not while there is a new state to be read, nor for a while after
        such a question took long, from a slow disk for instance.
        """
        started = time.monotonic()
        if started < self._quick_from:
            return None
        try:
            reader = self._idle.pop()
        except IndexError:
            return None
        stamps = self._stamps()
        if reader.stamps is None or reader.stamps != stamps:
            self._idle.append(reader)
            return None
        try:
            with self._used(reader, stamps) as index:
                return question(index)
        except _ASKED_WRONGLY:
            raise
        except HashretError:
            return None
        finally:
            ended = time.monotonic()
            self._usual_seconds += (ended - started - self._usual_seconds) / 8
            if self._usual_seconds > _AT_ONCE_SECONDS:
                self._usual_seconds = 0.0
                self._quick_from = ended + _SLOW_SECONDS

    def change(self, change: Callable[[Index], _T]) -> _T:
        """Change the index; one at a time, as there is one lock for writers."""
        with self._writing, self.reader() as index:
            return change(index)

    def facts(self) -> dict[str, Any]:
        """What the index is and holds; remembered until it changes, for it takes a while."""
        return self.ask(self._current_facts)

    def _current_facts(self, index: Index) -> dict[str, Any]:
        commit, known = index.commit, self._facts
        if known is None or known[0] != commit:
            known = self._facts = (commit, index.info())
        return known[1]

    def described(self, writable: bool) -> dict[str, Any]:
        """The facts that may be told to others: not where on this machine anything lies."""
        facts = {name: fact for name, fact in self.facts().items() if name not in _OWN_BUSINESS}
        return {"name": self.name, "writable": writable, **facts}

    def close(self) -> None:
        """Close the readers that nobody uses."""
        while self._idle:
            with suppress(IndexError):  # somebody else may take the last
                self._idle.pop().index.close()
