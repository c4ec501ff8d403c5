"""Every file of an index cut, flipped, zeroed, spliced, swapped or removed; then all is asked.

What is asked must be answered rightly or refused by a ``HashretError`` that names the file, in a
fresh open and in an index that was open and mapped already; and ``verify`` must find the damage.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import hashret
import hashret.index.snapshot
from faults.children import Tell, done, in_child
from faults.oracle import KEYS, N_BITS, Oracle, State, fields, items, state_of, vector
from faults.tally import Tally, Trial

STATE: State = {**state_of(KEYS[:90]), **state_of(KEYS[90:150], 1), **state_of(KEYS[150:160], 2)}
OTHER: State = {**state_of(KEYS[:100], 3), **state_of(KEYS[100:170], 2)}
UNCHECKED = ("write.lock", "items.db-shm")
"""They say nothing of the items: any content is as good as any other."""
SECONDS = 60.0

Question = Callable[[hashret.Index], Any]


class Damage:
    """Spoils one file of an index after the other.

    Args:
        oracle: knows the truth.
        folder: an empty folder, best in memory.
        tally: where the outcome is counted.
        seed: of what is spoilt.
    """

    def __init__(self, oracle: Oracle, folder: Path, tally: Tally, seed: int) -> None:
        """Make the indexes: one at rest, one whose writer was killed, and another one."""
        self._oracle, self._tally = oracle, tally
        self._random = random.Random(seed)
        self._path = folder / "index"
        self._other = folder / "other"
        self._sound = {"at rest": folder / "rest", "killed": folder / "killed"}
        done(self._make)
        in_child(self._make_killed)
        self._questions = self._make_questions()

    def _make(self, _: Tell) -> None:
        hashret.index.snapshot.GRACE_SECONDS = 0.0  # no segments that nothing needs are left
        for place, state in ((self._sound["at rest"], STATE), (self._other, OTHER)):
            keys = list(state)
            with self._oracle.create(place, {key: state[key] for key in keys[:60]}) as index:
                index.add(items(state_of(KEYS[200:210])))
                index.add(items({key: state[key] for key in keys[60:120]}))
                index.remove(KEYS[200:210])
                index.add(items(state))
                index.add(items({keys[0]: state[keys[0]]}))  # sweeps
        shutil.copytree(self._sound["at rest"], self._sound["killed"])

    def _make_killed(self, _: Tell) -> None:
        with hashret.open(self._sound["killed"]) as index:
            index.add(items(state_of(KEYS[210:215])))
            index.remove(KEYS[210:215])
            signal.raise_signal(signal.SIGKILL)

    def _make_questions(self) -> dict[str, tuple[Question, Any]]:
        """What is asked, and the right answers."""
        code = self._oracle.codes[KEYS[5], 1]
        near = self._oracle.nearest(STATE, code)
        own = self._oracle.nearest(STATE, self._oracle.codes[KEYS[95], 1])
        labelled = {key for key in STATE if fields(key, 0)["label"] == 2}
        held = sorted((key, fields(key, version)) for key, version in STATE.items())

        def hits(result: Any) -> list[tuple[str, int]]:
            return sorted((hit.key, hit.distance) for hit in result)

        def within(distances: dict[str, int], radius: int) -> list[tuple[str, int]]:
            return sorted((key, d) for key, d in distances.items() if d <= radius)

        def ring_sizes(result: Any) -> list[int]:
            return sorted(hit.distance for hit in result)

        questions: dict[str, tuple[Question, Any]] = {
            f"radius {radius}": (
                lambda index, radius=radius: hits(index.query_code(code, radius, None)),
                within(near, radius),
            )
            for radius in (0, 3, 9, N_BITS)
        }
        questions |= {
            "nearest": (lambda i: ring_sizes(i.query_code(code)), sorted(near.values())[:10]),
            "key": (lambda i: hits(i.query_key(KEYS[95], 9, None)), within(own, 9)),
            "where": (
                lambda i: hits(i.query_code(code, 12, None, where="label = 2")),
                [one for one in within(near, 12) if one[0] in labelled],
            ),
            "value": (
                lambda i: hits(i.query(vector(KEYS[95], 1), 9, None)),
                within(own, 9),
            ),
            "item": (lambda i: i[KEYS[91]].fields, fields(KEYS[91], 1)),
            "no item": (lambda i: KEYS[190] in i, False),
            "items": (lambda i: sorted((one.key, one.fields) for one in i.items()), held),
            "codes": (
                lambda i: sorted((one.key, one.code.tobytes()) for one in i.items()),
                sorted((key, self._oracle.codes[key, STATE[key]].tobytes()) for key in STATE),
            ),
            "len": (len, len(STATE)),
            "vectors": (
                lambda i: bool(
                    np.allclose(
                        i.vectors(list(STATE)),
                        np.stack([vector(*one) for one in STATE.items()]),
                        atol=2e-3,
                    )
                ),
                True,
            ),
            "field names": (lambda i: i.field_names, ["label", "text", "version"]),
        }
        return questions

    # What is done to a file

    def run(self, trials: int, opened: int) -> None:
        """So many damages that are met on opening, and so many while the index is open."""
        while self._tally.trials < trials:
            which = "killed" if self._random.random() < 0.2 else "at rest"
            self._trial(which, while_open=False)
        while self._tally.trials < trials + opened:
            self._trial("at rest", while_open=True)

    def _trial(self, which: str, *, while_open: bool) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
        shutil.copytree(self._sound[which], self._path)
        files = sorted(path for path in self._path.rglob("*") if path.is_file())
        if while_open:
            # SQLite has it mapped: cut short by someone else, it takes any program down that uses
            # SQLite, whatever that does. Damaged before it is opened, it is made anew.
            files = [path for path in files if not path.name.endswith("-shm")]
        # The database is the largest part of the truth, and a file among many.
        weights = [6 if path.name.startswith("items.db") else 1 for path in files]
        (file,) = self._random.choices(files, weights)
        name = str(file.relative_to(self._path))
        before = file.read_bytes()
        how, spoil = self._spoiling(file, before)
        self._random.shuffle(order := list(self._questions))

        def work(_: Tell) -> dict[str, Any]:
            if while_open:
                return self._spoilt_while_open(spoil, order)
            spoil()
            return self._spoilt_before(order)

        answer = in_child(work, SECONDS)
        there = file.read_bytes() if file.exists() else None
        if there == before:
            return  # it was zero there before
        short = name if "segments/" not in name else f"segments/*/{file.name}"
        what = f"{which}{', open' * while_open}: {short} {how}"
        refused = answer.end == "returned" and bool(answer.value["refused"])
        with self._tally.trial(what, refused=refused) as trial:
            if answer.end != "returned":
                trial.crashed(f"{answer.end}: {answer.value}")
                return
            self._judge(trial, answer.value, name)

    def _judge(self, trial: Trial, came: dict[str, Any], name: str) -> None:
        for line in came["wrong"]:
            trial.wrong(line)
        for line in came["raised"]:
            trial.crashed(line)
        for line in came["refused"]:
            if str(self._path) not in line:
                trial.wrong(f"the error names no file: {line}")
        # A byte of the database that no answer depends on may lie where nothing is kept.
        derived = name.startswith(("segments/", "encoder/"))
        if not came["found"] and (derived or came["refused"]) and name not in UNCHECKED:
            trial.wrong("verify does not find it")

    def _spoiling(self, file: Path, content: bytes) -> tuple[str, Callable[[], None]]:
        """Something to do to a file of this content, in words and as a function."""
        chance, size = self._random, len(content)
        place = chance.randrange(max(size, 1))
        kinds = ["flip", "flip", "zero", "splice", "cut", "append", "swap", "remove", "random"]
        kind = chance.choice(kinds)
        twins = sorted(self._other.rglob(file.name))
        twin = chance.choice(twins).read_bytes() if twins else b""
        length = chance.choice([512, 4096])
        start = place // length * length

        def put(at: int, data: bytes) -> Callable[[], None]:
            def write() -> None:
                with file.open("r+b") as opened:
                    opened.seek(at)
                    opened.write(data)

            return write

        def cut(to: int) -> Callable[[], None]:
            def truncate() -> None:
                with file.open("r+b") as opened:
                    opened.truncate(to)

            return truncate

        if kind == "remove" or size == 0:
            return "removed", file.unlink
        if kind == "flip":
            bits = chance.randrange(1, 256)
            return f"byte {place} ^ {bits}", put(place, bytes([content[place] ^ bits]))
        if kind == "zero":
            zeros = bytes(min(length, size - start))
            return f"{length} bytes from {start} zeroed", put(start, zeros)
        if kind == "random":
            noise = chance.randbytes(min(chance.randrange(1, 400), size - place))
            return f"{len(noise)} bytes from {place} random", put(place, noise)
        if kind == "splice":
            part = twin[start : start + length][: size - start] or b"\xff"
            return f"{len(part)} bytes from {start} of another index", put(start, part)
        if kind == "append":
            more = chance.choice([b"\0", chance.randbytes(100), bytes(4096)])
            return f"{len(more)} bytes longer", put(size, more)
        if kind == "swap" and twin:
            return "of another index", lambda: file.write_bytes(twin) and None
        to = chance.choice([0, size - 1, size // 2, start, place])
        return f"cut to {to} of {size} bytes", cut(to)

    # In a child

    def _spoilt_before(self, order: list[str]) -> dict[str, Any]:
        came = _Came()
        try:
            with hashret.open(self._path) as index:
                for name in order:
                    came.ask(name, index, *self._questions[name])
        except hashret.HashretError as error:
            came.refused.append(str(error))
        except Exception as error:
            came.raised.append(f"open: {error!r}")
        return self._verified(came)

    def _spoilt_while_open(self, spoil: Callable[[], None], order: list[str]) -> dict[str, Any]:
        came = _Came()
        with hashret.open(self._path) as index:
            for name in order:
                came.ask(name, index, *self._questions[name])
            if came.refused or came.wrong or came.raised:
                raise RuntimeError(f"The index was not sound: {vars(came)}")
            spoil()
            for name in order:
                came.ask(name, index, *self._questions[name])
        return self._verified(came)

    def _verified(self, came: _Came) -> dict[str, Any]:
        try:
            with hashret.open(self._path) as index:
                found = not index.verify().ok
        except hashret.HashretError:
            found = True
        except Exception as error:
            came.raised.append(f"verify: {error!r}")
            found = True
        return {**vars(came), "found": found}


class _Came:
    """What came of the questions."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.wrong: list[str] = []
        self.refused: list[str] = []
        self.raised: list[str] = []

    def ask(self, name: str, index: hashret.Index, question: Question, right: Any) -> None:
        """Ask one question."""
        try:
            answer = question(index)
        except hashret.HashretError as error:
            self.refused.append(str(error))
        except Exception as error:
            self.raised.append(f"{name}: {error!r}")
        else:
            if answer != right:
                self.wrong.append(f"{name} is answered wrongly: {str(answer)[:120]}")
