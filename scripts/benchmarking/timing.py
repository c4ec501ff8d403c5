"""Times of several sides that take turns, so that whatever else the machine does hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUND_SECONDS = 0.03
"""A side answers its queries again and again for so long, if once takes less."""


def _nothing() -> None:
    """Do nothing."""


@dataclass
class Side:
    """What is measured.

    Attributes:
        run: answers queries.
        queries: those it is timed with.
        single: whether they come one at a time; their median counts. Otherwise they come at once.
        before: prepares a round, outside of the time.
        after: ends a round, outside of the time.
    """

    run: Callable[[NDArray[np.uint8]], Any]
    queries: NDArray[np.uint8]
    single: bool = False
    before: Callable[[], None] = _nothing
    after: Callable[[], None] = _nothing

    def seconds(self) -> float:
        """Seconds a query in one round: the median of as many runs as fill a little while."""
        self.before()
        try:
            started = perf_counter()
            times = self._times()
            while perf_counter() - started < ROUND_SECONDS:
                times += self._times()
            return median(times)
        finally:
            self.after()

    def _times(self) -> list[float]:
        times = []
        n = len(self.queries)
        step = 1 if self.single else n
        for start in range(0, n, step):
            queries = self.queries[start : start + step]
            started = perf_counter()
            self.run(queries)
            times.append((perf_counter() - started) / step)
        return times


def take_turns(sides: Sequence[Side], rounds: int) -> list[list[float]]:
    """Seconds a query of each side in each round, after one that does not count."""
    for side in sides:
        side.seconds()
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, own in zip(sides, times, strict=True):
            own.append(side.seconds())
    return times


def affordable(side: Side, budget: float, least: int = 3) -> Side:
    """The same with no more queries than it can answer in a budget of seconds."""
    few = replace(side, queries=side.queries[:least])
    n = int(budget / min(few.seconds() for _ in range(2)))
    return replace(side, queries=side.queries[: max(least, n)])
