"""Every call of every operation: killed before and after it, failed, cut short."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import hashret
from faults import shim
from faults.children import Tell, done, here, in_child
from faults.oracle import KEYS, Found, Oracle, State, items, state_of
from faults.tally import Tally

Change: TypeAlias = Callable[[hashret.Index], Any]

START: State = {**state_of(KEYS[:120]), **state_of(KEYS[120:130], 1)}
FAULTS = (
    "kill:{n}",
    "killafter:{n}",
    "error:{n}:28",
    "error:{n}:5",
    "errorfrom:{n}:28",
    "errorfrom:{n}:5",
    "short:{n}:28",
)
READ_FAULT = "readerror:{n}:5"


@dataclass(frozen=True)
class Operation:
    """Something that changes an index from one state into another.

    Attributes:
        name: what it is called in reports.
        before: the state it starts from; None: there is no index.
        after: the state it ends in.
        between: states in which it may be interrupted besides these two.
        change: does it to an open index.
    """

    name: str
    before: State | None
    after: State
    change: Change
    between: tuple[State, ...] = ()


def _update(state: State) -> State:
    return {**state, **state_of(KEYS[100:125], 2), **state_of(KEYS[125:140], 3)}


def _without(state: State) -> State:
    return {key: version for key, version in state.items() if key not in KEYS[10:40]}


def _remove(index: hashret.Index) -> None:
    # As a user who runs it again: what is gone already is not asked for.
    if there := [key for key in KEYS[10:40] if key in index]:
        index.remove(there)


_FEW = {**START, **state_of(KEYS[130:145])}
_MANY = {**START, **state_of(KEYS[130:220])}

OPERATIONS = [
    Operation("create", None, _MANY, lambda index: index.add(items(_MANY)), ({},)),
    Operation("add", START, _FEW, lambda index: index.add(items(_FEW))),
    Operation("add with a segment", START, _MANY, lambda index: index.add(items(_MANY))),
    Operation("update", START, _update(START), lambda index: index.add(items(_update(START)))),
    Operation("remove", START, _without(START), _remove),
    Operation("compact", START, START, lambda index: index.compact()),
]


class Walk:
    """Does an operation again and again, with another fault each time, and looks what is left.

    Args:
        oracle: knows the truth.
        folder: an empty folder, best in memory.
        tally: where the outcome is counted.
    """

    def __init__(self, oracle: Oracle, folder: Path, tally: Tally) -> None:
        """Make the index that operations start from."""
        self._oracle, self._tally = oracle, tally
        self._template = folder / "template"
        self._room = folder / "room"
        self._path = self._room / "index"
        done(self._make_template)

    def _make_template(self, _: Tell) -> None:
        with self._oracle.create(self._template, state_of(KEYS[:110])) as index:
            index.add(items(state_of(KEYS[200:205])))
            index.add(items(START))
            index.remove(KEYS[200:205])

    def run(self, operations: list[Operation], stride: int, first: int) -> None:
        """Walk over the calls of operations with each of the faults.

        Args:
            operations: what is done.
            stride: 1 meets every call with every fault; of more, every call with one of them.
            first: shifts which.
        """
        for operation in operations:
            calls, reads, files = self._clean(operation)
            for number, fault in enumerate(FAULTS):
                for n in range(1 + (number + first) % stride, calls + 1, stride):
                    self._trial(operation, fault.format(n=n), files)
            for n in range(1 + first % stride, reads + 1, stride):
                self._trial(operation, READ_FAULT.format(n=n), files)

    def _clean(self, operation: Operation) -> tuple[int, int, set[str]]:
        """How many calls an operation takes, and what files it leaves, when nothing goes wrong."""
        self._restore(operation)
        came = done(lambda tell: self._attempt(operation, "count:0", tell))
        if "error" in came:
            raise RuntimeError(f"{operation.name} fails without a fault: {came['error']}")
        return *came["calls"], self._files()

    def _restore(self, operation: Operation) -> None:
        shutil.rmtree(self._room, ignore_errors=True)
        self._room.mkdir()
        if operation.before is not None:
            shutil.copytree(self._template, self._path)

    def _files(self) -> set[str]:
        """All files of the room, segments without their names of chance."""
        return set(self._names())

    def _names(self) -> Iterator[str]:
        for path in self._room.rglob("*"):
            parts = list(path.relative_to(self._room).parts)
            if len(parts) > 2 and parts[1] == "segments" and not parts[2].startswith("."):
                parts[2] = "*"
            yield "/".join(parts)

    def _do(self, operation: Operation) -> hashret.Index:
        """Do it; the index that was changed is left open."""
        if operation.before is None and not (self._path / "items.db").exists():
            return self._oracle.create(self._path, operation.after)
        index = hashret.open(self._path)
        try:
            operation.change(index)
        except BaseException:
            index.close()
            raise
        return index

    def _attempt(self, operation: Operation, fault: str, tell: Tell) -> dict[str, Any]:
        """In a child: do it under a fault; tell when it is done, or with what error it ended."""
        try:
            with self._under(fault):
                index = self._do(operation)
                tell("done")
                index.close()
        except hashret.HashretError as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"calls": shim.counted()}

    @contextmanager
    def _under(self, fault: str) -> Iterator[None]:
        """Calls go as the fault says."""
        shim.arm(self._room, fault)
        try:
            yield
        finally:
            shim.disarm()

    def _again(self, operation: Operation) -> dict[str, Any]:
        """In a child: what is there now, and what after doing it once more without a fault."""
        time.sleep(0.03)  # files of this very moment are checked, but not sealed again
        found = self._oracle.examine(self._path)
        try:
            with self._do(operation) as index:
                index.remove([])  # a change, though of nothing: what died before it is swept away
            last = self._oracle.examine(self._path)
        except hashret.HashretError as error:
            last = Found(None, [f"{type(error).__name__}: {error}"])
        return {
            "state": found.state,
            "problems": found.problems + [f"done again: {line}" for line in last.problems],
            "last": last.state,
        }

    def _trial(self, operation: Operation, fault: str, files: set[str]) -> None:
        self._restore(operation)
        answer = in_child(lambda tell: self._attempt(operation, fault, tell))
        what = f"{operation.name}, {fault}"
        planned = ("killed",) if fault.startswith("kill") else ("returned",)
        refused = answer.end == "returned" and "error" in answer.value
        if planned == ("killed",) and answer.end == "returned" and not refused:
            # How many calls there are depends on the clock: it may end before the one in question.
            calls, _ = answer.value["calls"]
            if calls < int(fault.split(":")[1]):
                return
        with self._tally.trial(what, refused=refused) as trial:
            if answer.end not in planned:
                trial.crashed(f"{answer.end}: {answer.value}")
                return
            after = here(lambda: self._again(operation))
            if after.end != "returned":
                trial.crashed(f"then {after.end}: {after.value}")
                return
            state = after.value["state"]
            # Once nothing can be written any more, what is already on the disk cannot be undone.
            dead = fault.startswith("errorfrom") and not fault.endswith(":28")
            undoable = (*operation.between, *((operation.after,) if dead else ()))
            if answer.told and state != operation.after:
                trial.lost("it was acknowledged")
            elif state not in (operation.before, operation.after, *operation.between):
                trial.half(f"neither before nor after: {_difference(state, operation)}")
            elif refused and not answer.told and state not in (operation.before, *undoable):
                trial.half(f"done, but refused: {answer.value['error']}")
            for problem in after.value["problems"]:
                trial.wrong(problem)
            if after.value["last"] != operation.after:
                trial.wrong("done again, it is not as it should be")
            if left := self._files() - files:
                trial.wrong(f"left behind: {sorted(left)}")


def _difference(state: State | None, operation: Operation) -> str:
    if state is None:
        return "there is no index"
    before = operation.before or {}
    return f"{len(state)} items, of {len(before)} before and {len(operation.after)} after"
