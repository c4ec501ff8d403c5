"""How far a long piece of work has come, and where its time goes, by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STAGES = ("read", "compare", "features", "learn", "encode", "store", "tables")
"""The order in which stages are told."""


class Stopwatch:
    """Seconds by stage; what runs in threads side by side counts for each.

    ``read``: from the source. ``compare``: with what is stored, by hashes. ``features`` and
    ``encode``: values to rows, rows to codes. ``learn``: the encoder. ``store``: write and commit.
    ``tables``: make segments.
    """

    def __init__(self) -> None:
        """Nothing has taken any time yet."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Count what the block takes; a stage is timed in one thread at a time."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add({stage: time.perf_counter() - started})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Count more seconds of some stages."""
        for stage, more in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + more


def peak_memory() -> int:
    """The most memory, in bytes, that this process has had at a time; mapped files count too."""
    # Not what getrusage tells: that is no less than what the parent had when it started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long piece of work has come.

    Attributes:
        stage: what is being done: ``"reading"``, ``"learning"``, ``"storing"``, ``"encoding"``,
            ``"tables"``, ``"exporting"``, ``"features"`` (learned from texts).
        done: units done in this stage (items, or training steps).
        total: units in all, or None when that is not known.
        note: a few words on the state, such as the loss.
    """

    stage: str
    done: int
    total: int | None
    note: str = ""


ProgressCallback = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """Say nothing: the default wherever progress may be told."""
