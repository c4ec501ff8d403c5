"""What came of an experiment's trials, counted."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

SHOWN = 20
SHOWN_OF_ONE = 2
"""So many failures of a kind are told in full, of all trials and of one."""


@dataclass
class Tally:
    """Counts of one experiment.

    Attributes:
        name: of the experiment.
        trials: how many there were.
        lost: something acknowledged was not there.
        half: a change was there in part, or done though it was refused.
        wrong: a wrong answer, a ghost, a damage that is not found, files left behind.
        crashed: a crash, a hang, or an error that is no ``HashretError``.
        refused: ended in a clear error, as it may.
        seconds: all of it.
        skipped: why the experiment cannot be made here, if it cannot.
        failures: what went wrong, the first of each kind.
        shows_progress: whether counts are told on stderr meanwhile.
    """

    name: str
    trials: int = 0
    lost: int = 0
    half: int = 0
    wrong: int = 0
    crashed: int = 0
    refused: int = 0
    seconds: float = 0.0
    skipped: str = ""
    failures: list[str] = field(default_factory=list)
    shows_progress: bool = False
    _told: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> bool:
        """Whether anything went wrong."""
        return bool(self.lost or self.half or self.wrong or self.crashed)

    @contextmanager
    def trial(self, what: str, *, refused: bool = False) -> Iterator[Trial]:
        """Count one trial."""
        trial = Trial(what)
        yield trial
        self.trials += 1
        self.refused += refused
        for kind in trial.kinds:
            setattr(self, kind, getattr(self, kind) + 1)
        if not trial.kinds or any(getattr(self, kind) <= SHOWN for kind in trial.kinds):
            self.failures += trial.failures[:SHOWN_OF_ONE]
        if self.shows_progress and time.monotonic() > self._told + 1:
            self._told = time.monotonic()
            bad = self.lost + self.half + self.wrong + self.crashed
            print(f"\r{self.trials:,} trials, {bad:,} bad", end="\r", file=sys.stderr, flush=True)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON."""
        self.seconds = round(time.monotonic() - self._started, 1)
        return {name: value for name, value in asdict(self).items() if name[0] != "_"}


class Trial:
    """One trial, and what was wrong with it: each kind is counted once."""

    def __init__(self, what: str) -> None:
        """Name it, so that it can be done again."""
        self.what = what
        self.kinds: set[str] = set()
        self.failures: list[str] = []

    def lost(self, how: str) -> None:
        """Something acknowledged was not there."""
        self._note("lost", how)

    def half(self, how: str) -> None:
        """A change was there in part."""
        self._note("half", how)

    def wrong(self, how: str) -> None:
        """An answer was wrong, or damage was not found."""
        self._note("wrong", how)

    def crashed(self, how: str) -> None:
        """It crashed, hung or raised something unforeseen."""
        self._note("crashed", how)

    def _note(self, kind: str, how: str) -> None:
        self.kinds.add(kind)
        self.failures.append(f"[{kind}] {self.what}: {how}")
