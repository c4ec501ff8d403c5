"""Many readers beside one writer: each answer is one committed state, and never an older one."""

from __future__ import annotations

import json
import mmap
import random
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import hashret
from faults.children import Child, done
from faults.oracle import KEYS, N_BITS, Oracle, State
from faults.states import random_steps
from faults.tally import Tally

READERS = 8
START: State = dict.fromkeys(KEYS[:80], 0)
_COUNTERS = struct.Struct("=qq")


def _digest(state: State) -> int:
    return zlib.crc32(json.dumps(sorted(state.items())).encode())


class _Progress:
    """How many states the writer has begun to write, and how many are acknowledged."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)  # anonymous: children share it

    def begin(self, number: int) -> None:
        struct.pack_into("=q", self._shared, 0, number)

    def acknowledge(self, number: int) -> None:
        struct.pack_into("=q", self._shared, 8, number)

    @property
    def begun(self) -> int:
        return int(_COUNTERS.unpack_from(self._shared)[0])

    @property
    def acknowledged(self) -> int:
        return int(_COUNTERS.unpack_from(self._shared)[1])


class Readers:
    """Eight readers and a writer, in processes of their own.

    Args:
        oracle: knows the truth.
        folder: an empty folder, best in memory.
        tally: where the outcome is counted; a trial is an answer.
        seed: of what is written.
    """

    def __init__(self, oracle: Oracle, folder: Path, tally: Tally, seed: int) -> None:
        """Make the index."""
        self._oracle, self._tally, self._seed = oracle, tally, seed
        self._path = folder / "index"
        self._log = folder / "states"
        self._progress = _Progress()
        done(lambda _: oracle.create(self._path, START).close())

    def run(self, seconds: float) -> None:
        """Read and write for so long."""
        self._log.write_text(f"{_digest(START)}\n")
        until = time.monotonic() + seconds
        writer = Child(lambda _: self._write(until))
        readers = [Child(lambda _, own=own: self._read(own, until)) for own in range(READERS)]
        written = writer.answer(seconds + 60)
        answers = [reader.answer(60) for reader in readers]
        if written.end != "returned":
            with self._tally.trial("the writer") as trial:
                trial.crashed(f"{written.end}: {written.value}")
        states = [int(line) for line in self._log.read_text().split()]
        for number, answer in enumerate(answers):
            if answer.end != "returned":
                with self._tally.trial(f"reader {number}") as trial:
                    trial.crashed(f"{answer.end}: {answer.value}")
                continue
            for acknowledged, begun, digest, problem in answer.value:
                what = f"reader {number}, {acknowledged} states acknowledged, {begun} begun"
                with self._tally.trial(what) as trial:
                    if problem:
                        trial.crashed(problem)
                    elif digest not in states[acknowledged : begun + 1]:
                        (trial.lost if digest in states else trial.half)("not a state of then")

    def _write(self, until: float) -> int:
        chance = random.Random(self._seed)
        state, number = START, 0
        with hashret.open(self._path) as index, self._log.open("a") as log:
            while time.monotonic() < until:
                (step,) = random_steps(chance, state, 1)
                state, number = step.after, number + 1
                log.write(f"{_digest(state)}\n")
                log.flush()
                self._progress.begin(number)
                step.apply(index)
                self._progress.acknowledge(number)
        return number

    def _read(self, own: int, until: float) -> list[Any]:
        chance = random.Random(own)
        came = []
        index = hashret.open(self._path)
        while time.monotonic() < until:
            if chance.random() < 0.1:
                index.close()
                index = hashret.open(self._path)
            before = self._progress.acknowledged
            try:
                state = self._ask(index, chance)
            except Exception as error:
                came.append((before, before, 0, f"{type(error).__name__}: {error}"))
                break
            came.append((before, self._progress.begun, _digest(state), ""))
        index.close()
        return came

    def _ask(self, index: hashret.Index, chance: random.Random) -> State:
        if chance.random() < 0.3:
            return {one.key: one.fields["version"] for one in index.items()}
        code = self._oracle.codes[chance.choice(KEYS), 0]
        hits = index.query_code(code, N_BITS, None)
        return {hit.key: hit.fields["version"] for hit in hits}
