"""A thousand deaths: a writer at random work is killed anywhere, and the next one goes on.

The index is never made anew: what a killed writer left is what the next one opens.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import hashret
from faults import shim
from faults.children import Child, Tell, done, here
from faults.oracle import KEYS, Oracle, State
from faults.states import Step, random_steps
from faults.tally import Tally, Trial

STEPS = 6
CALLS = 250
"""Most of the writers make about so many calls that change files."""


class RandomKills:
    """Kills one writer after the other.

    Args:
        oracle: knows the truth.
        folder: an empty folder, best in memory.
        tally: where the outcome is counted.
        seed: of the work and of the moments.
    """

    def __init__(self, oracle: Oracle, folder: Path, tally: Tally, seed: int) -> None:
        """Make the index."""
        self._oracle, self._tally = oracle, tally
        self._chance = random.Random(seed)
        self._folder, self._path = folder, folder / "index"
        self._state: State = dict.fromkeys(KEYS[:60], 0)
        done(lambda _: oracle.create(self._path, self._state).close())

    def run(self, kills: int) -> None:
        """Kill so many writers: at a call, or from outside at some time."""
        for number in range(kills):
            steps = random_steps(self._chance, self._state, STEPS)
            n = self._chance.randrange(1, CALLS)
            at_call = f"{self._chance.choice(['kill', 'killafter'])}:{n}"
            fault = at_call if number % 3 else "count:0"
            child = Child(lambda tell: self._write(steps, fault, tell))  # noqa: B023 - it is forked
            if number % 3 == 0:
                time.sleep(self._chance.uniform(0.0, 0.15))
                os.kill(child.pid, signal.SIGKILL)
            answer = child.answer()
            with self._tally.trial(f"writer {number}, {fault}") as trial:
                if answer.end not in ("killed", "returned"):
                    trial.crashed(f"{answer.end}: {answer.value}")
                self._check(trial, steps, len(answer.told))

    def _write(self, steps: list[Step], fault: str, tell: Tell) -> None:
        shim.arm(self._folder, fault)
        with hashret.open(self._path) as index:
            for step in steps:
                step.apply(index)
                tell("done")

    def _check(self, trial: Trial, steps: list[Step], done: int) -> None:
        after = here(lambda: vars(self._oracle.examine(self._path)))
        if after.end != "returned":
            trial.crashed(f"then {after.end}: {after.value}")
            return
        states = [self._state, *(step.after for step in steps)]
        found = after.value["state"]
        if found not in states[done : done + 2]:
            (trial.lost if found in states[:done] else trial.half)(f"after {done} steps")
        for problem in after.value["problems"]:
            trial.wrong(problem)
        left = [p.name for p in self._path.rglob(".*") if p.parent.name == "segments"]
        if len(left) > 1:
            trial.wrong(f"what earlier writers left is still there: {left}")
        self._state = found or {}
