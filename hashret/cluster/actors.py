"""The process that reads a shard."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hashret.cluster.published import storage_at
from hashret.cluster.shard_answers import Question, Reach, ShardAnswer
from hashret.errors import (
    ASKED_WRONGLY,
    DamagedIndexError,
    HashretError,
    IndexNotFoundError,
)
from hashret.index.hit_columns import Nearest
from hashret.index.index import Index
from hashret.search.threads import set_threads
from hashret.store import StoredItem
from hashret.store.patience import patience

_T = TypeVar("_T")

MOST_KEPT = 1 << 20
"""Hits that a reader keeps from one round to the next."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of a shard, which travels as its words: not every exception can be sent.

    Attributes:
        kind: the name of its class in :mod:`hashret.errors`.
        message: what it says.
        key: that no item has, of a ``KeyNotFoundError``.
    """

    kind: str
    message: str
    key: str | None = None


class ShardReader:
    """Answers from one shard; every answer is of its newest state."""

    def __init__(self, root: str, folder: str, share: int) -> None:
        """Open the shard when it is first asked; it shares its machine with ``share`` others."""
        _wait_for_nobody()
        set_threads(max(1, len(os.sched_getaffinity(0)) // max(1, share)))
        self._storage = storage_at(root)
        self._folder = folder
        self._index: Index | None = None
        self._reached: tuple[int, Nearest | None] = 0, None

    def alive(self) -> None:
        """Say so, whatever else it is doing."""

    def answer(self, question: Question) -> ShardAnswer | Refusal:
        """The hits of a batch of codes."""
        name, known = self._reached
        self._reached = 0, None
        with _patience_for(question):
            return self._try(
                lambda index: _answered(index, question, known if name == question.name else None)
            )

    def reach(self, question: Question) -> Reach | Refusal:
        """How far the nearest items of each of a batch of codes are."""
        with _patience_for(question):
            found = self._try(lambda index: _nearest(index, question))
        if isinstance(found, Refusal):
            return found
        reach, nearest = found
        self._reached = question.name, nearest if len(reach.distances) <= MOST_KEPT else None
        return reach

    def item(self, key: str, *, with_vector: bool = False) -> Any:
        """The item with this key and its kept vector, ``(StoredItem, (d,) float32 or None)``."""

        def found(index: Index) -> Any:
            item: StoredItem = index[key]
            return item, index.vectors([key])[0] if with_vector else None

        return self._try(found)

    def items(self, limit: int | None, where: str | None, after: str | None) -> Any:
        """Items in the order of their keys; see :meth:`hashret.store.ItemReader.items_by_key`."""

        def found(index: Index) -> list[StoredItem]:
            with index.reader.state():
                return index.reader.store.items_by_key(limit, where, after)

        return self._try(found)

    def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        """The value of an attribute of the shard, an index, or what it returns when called."""

        def asked(index: Index) -> Any:
            found = getattr(index, name)
            return found(*arguments, **options) if callable(found) else found

        return self._try(asked)

    def process(self) -> dict[str, Any]:
        """Its process: ``pid``, ``memory`` (bytes, its own and its share), ``node`` (its id)."""
        import ray

        text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
        own = next(line for line in text.splitlines() if line.startswith("Pss:"))
        return {
            "pid": os.getpid(),
            "memory": int(own.split()[1]) * 1024,
            "node": ray.get_runtime_context().get_node_id(),
        }

    def _try(self, ask: Callable[[Index], _T]) -> _T | Refusal:
        try:
            try:
                return ask(self._newest())
            except ASKED_WRONGLY:
                raise
            except HashretError as error:
                # A copy may be damaged where the original is whole; or another shard lies there.
                if isinstance(error, DamagedIndexError):
                    self._storage.discard(self._folder)
                self._close()
                return ask(self._newest())
        except HashretError as error:
            return Refusal(type(error).__name__, str(error), getattr(error, "key", None))

    def _newest(self) -> Index:
        path = self._storage.reading(self._folder)
        if self._index is not None and self._index.path != path:
            self._close()
        if self._index is None:
            self._index = Index.open(path)
            self._index.reader.finds_paths = False
            # What is there stays: looking through it for garbage would take a tenth of the time.
            gc.collect()
            gc.freeze()
        return self._index

    def _close(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None


def _wait_for_nobody() -> None:
    """Take the priority of the node itself.

    Ray starts workers with the lowest but four, as is right for work that may take its time; but
    somebody waits for an answer, and other processes would all come first. Where only root may, it
    stays: then start nodes with the variable RAY_worker_niceness=0.
    """
    with suppress(OSError):
        niceness = os.getpriority(os.PRIO_PROCESS, os.getppid())
        for thread in Path("/proc/self/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), niceness)


def _patience_for(question: Question) -> AbstractContextManager[None]:
    return nullcontext() if question.patience is None else patience(question.patience)


def _answered(index: Index, question: Question, known: Nearest | None = None) -> ShardAnswer:
    _check_encoder(index, question)
    started = time.perf_counter()
    columns = index.search_columns(
        question.codes,
        question.radius,
        question.limit,
        question.where,
        question.refinement,
        question.bounds,
        known,
    )
    return ShardAnswer(columns, time.perf_counter() - started)


def _nearest(index: Index, question: Question) -> tuple[Reach, Nearest]:
    _check_encoder(index, question)
    started = time.perf_counter()
    most = question.most or 1
    found = index.nearest(question.codes, question.radius, most, question.where)
    distances = [one.distances[:most] for one in found.founds]
    reach = Reach(
        np.array(list(map(len, distances)), dtype=np.int64),
        np.concatenate(distances).astype(np.int16),
        time.perf_counter() - started,
    )
    return reach, found


def _check_encoder(index: Index, question: Question) -> None:
    if index.fingerprint != question.encoder:
        raise IndexNotFoundError(
            f"{index.path} is of another encoder ({index.fingerprint}) than the cluster that was "
            f"opened ({question.encoder}): it was made anew meanwhile. Open it again."
        )


@cache
def remote_reader() -> Any:
    """:class:`ShardReader` as a class of actors, which Ray starts again when they die."""
    import ray

    return ray.remote(
        num_cpus=0, max_restarts=-1, max_task_retries=0, concurrency_groups={"alive": 1}
    )(ShardReader)
