"""Power losses: of what was written after the last flush, the disk keeps what it likes.

A session is recorded call by call. Then the folder is built as a disk might show it after a loss of
power at some moment: of each file what was flushed, and of later writes none, all, a prefix or any,
torn at 512 bytes; of names made, changed and removed since the flush of their folder, those up to
some moment, as journaling file systems keep their order, or in each folder up to its own.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hashret
from faults import shim
from faults.children import done, here
from faults.oracle import KEYS, Oracle, State, items
from faults.shim import Change
from faults.states import Step, random_steps
from faults.tally import Tally

SECTOR = 512
START: State = dict.fromkeys(KEYS[:70], 0)


@dataclass
class _File:
    """A file's content at the start, and what was done to it, by place in the log."""

    base: bytes = b""
    changes: list[tuple[int, Change]] = field(default_factory=list)
    flushed: list[int] = field(default_factory=list)


@dataclass
class _Folder:
    """A folder's entries at the start, and the places in the log at which it was flushed."""

    base: dict[str, _File | _Folder] = field(default_factory=dict)
    flushed: list[int] = field(default_factory=list)


@dataclass
class _Naming:
    """A name that was given (``node``) or taken away (None), as part of change ``at``."""

    at: int
    folder: _Folder
    name: str
    node: _File | _Folder | None


class Disk:
    """What was written to a folder, in order, so that any moment can be built again.

    Args:
        root: the folder as it is before the recording.
    """

    def __init__(self, root: Path) -> None:
        """Remember what is there: it counts as flushed."""
        self._root_path = root
        self._by_inode: dict[int, _File | _Folder] = {}
        self._root = self._folder_of(root)
        self._namings: list[_Naming] = []
        self._now: dict[int, dict[str, _File | _Folder]] = {}
        self.marks: list[tuple[int, str]] = []
        self.length = 0

    def _folder_of(self, path: Path) -> _Folder:
        folder = _Folder()
        self._by_inode[path.stat().st_ino] = folder
        for child in path.iterdir():
            if child.is_dir():
                folder.base[child.name] = self._folder_of(child)
            else:
                file = folder.base[child.name] = _File(child.read_bytes())
                self._by_inode[child.stat().st_ino] = file
        return folder

    def record(self, changes: Iterable[Change]) -> None:
        """Take in a whole log."""
        for at, change in enumerate(changes):
            self.length = at + 1
            if change.type == "A":
                self.marks.append((at, change.text))
            elif change.type == "S":
                self._by_inode[change.inode].flushed.append(at)
            elif change.type in "WTF":
                node = self._by_inode[change.inode]
                if isinstance(node, _File):
                    node.changes.append((at, change))
            elif change.type in "CM":
                new = _File() if change.type == "C" else _Folder()
                self._by_inode[change.inode] = new
                self._name(at, change.text, new)
            elif change.type == "U":
                self._name(at, change.text, None)
            else:
                old = change.data.decode()
                folder, name = self._place(old)
                node = self._entries(folder)[name]
                self._name(at, change.text, node)
                self._name(at, old, None)

    def _entries(self, folder: _Folder) -> dict[str, _File | _Folder]:
        return self._now.setdefault(id(folder), dict(folder.base))

    def _place(self, path: str) -> tuple[_Folder, str]:
        *parents, name = Path(path).relative_to(self._root_path).parts
        folder = self._root
        for parent in parents:
            inner = self._entries(folder)[parent]
            if not isinstance(inner, _Folder):
                raise TypeError(f"{path} lies in no folder")
            folder = inner
        return folder, name

    def _name(self, at: int, path: str, node: _File | _Folder | None) -> None:
        folder, name = self._place(path)
        self._namings.append(_Naming(at, folder, name, node))
        if node is None:
            self._entries(folder).pop(name)
        else:
            self._entries(folder)[name] = node

    def build(self, target: Path, moment: int, chance: random.Random | None) -> None:
        """Write the folder as it may be found after a loss of power.

        Args:
            target: where; it must not exist.
            moment: the changes before it were made.
            chance: chooses what the disk kept; None: everything.
        """
        past = [one for one in self._namings if one.at < moment]
        kept = self._kept(past, moment, chance) if chance else {one.at for one in past}
        entries = {id(self._root): dict(self._root.base)}
        for one in past:
            if one.at not in kept:
                continue
            inside = entries.setdefault(id(one.folder), dict(one.folder.base))
            if one.node is None:
                inside.pop(one.name, None)
            else:
                inside[one.name] = one.node

        def write(path: Path, folder: _Folder) -> None:
            path.mkdir()
            for name, node in entries.get(id(folder), folder.base).items():
                if isinstance(node, _Folder):
                    write(path / name, node)
                elif not name.endswith("-shm"):  # shared memory does not outlive the machine
                    (path / name).write_bytes(_content(node, moment, chance))

        write(target, self._root)

    @staticmethod
    def _kept(past: list[_Naming], moment: int, chance: random.Random) -> set[int]:
        """The changes of names that the disk kept."""

        def flushed(one: _Naming) -> bool:
            return any(one.at < at < moment for at in one.folder.flushed)

        def up_to(namings: list[_Naming]) -> set[int]:
            surely = max((one.at for one in namings if flushed(one)), default=-1)
            last = chance.choice([surely, *(one.at for one in namings if one.at > surely)])
            return {one.at for one in namings if one.at <= last}

        if chance.random() < 0.7:
            return up_to(past)
        folders = {id(one.folder) for one in past}
        kept = [up_to([one for one in past if id(one.folder) == own]) for own in folders]
        return set().union(*kept)


def _content(file: _File, moment: int, chance: random.Random | None) -> bytes:
    changes = [(at, change) for at, change in file.changes if at < moment]
    last = max((at for at in file.flushed if at < moment), default=-1)
    sure = [change for at, change in changes if at < last or chance is None]
    unsure = [change for at, change in changes if at > last and chance is not None]
    content = bytearray(file.base)
    for change in sure:
        _apply(content, change)
    if chance is None or not unsure:
        return bytes(content)
    how = chance.choice(["none", "all", "prefix", "any", "torn"])
    cut = chance.randrange(len(unsure) + 1)
    for place, change in enumerate(unsure):
        if how == "all" or (how == "prefix" and place < cut):
            _apply(content, change)
        elif how in ("any", "torn") and chance.random() < 0.5:
            _apply(content, change, chance if how == "torn" else None)
    return bytes(content)


def _apply(content: bytearray, change: Change, torn: random.Random | None = None) -> None:
    end = change.offset + len(change.data)
    if change.type == "T":
        del content[change.offset :]
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if change.type != "W":
        return
    for start in range(change.offset // SECTOR * SECTOR, end, SECTOR):
        own = slice(max(start, change.offset), min(start + SECTOR, end))
        if torn is None or torn.random() < 0.5:
            content[own] = change.data[own.start - change.offset : own.stop - change.offset]


class PowerLosses:
    """Records sessions and cuts the power at random moments of them.

    Args:
        oracle: knows the truth.
        folder: an empty folder, best in memory.
        tally: where the outcome is counted.
        seed: of the sessions and of what the disk keeps.
    """

    def __init__(self, oracle: Oracle, folder: Path, tally: Tally, seed: int) -> None:
        """Nothing is recorded yet."""
        self._oracle, self._tally = oracle, tally
        self._folder = folder.resolve()
        self._seed = seed

    def run(self, sessions: int, trials: int) -> None:
        """So many sessions, with so many losses of power in each."""
        for session in range(sessions):
            self._session(self._seed + session, trials)

    def _session(self, seed: int, trials: int) -> None:
        room, rebuilt, log = (self._folder / name for name in ("room", "rebuilt", "log"))
        shutil.rmtree(room, ignore_errors=True)
        log.unlink(missing_ok=True)
        room.mkdir()
        creates = seed % 4 == 0
        if not creates:
            done(lambda _: self._oracle.create(room / "index", START).close())
        disk = Disk(room)
        steps = random_steps(random.Random(seed), START, 8)
        done(lambda _: self._do(room, log, steps, creates))
        disk.record(shim.read_log(log))
        self._check_recording(disk, room, rebuilt)
        chance = random.Random(seed)
        acknowledged = [at for at, _ in disk.marks]
        for number in range(trials):
            # Half of them soon after an acknowledgement, when the most may be forgotten.
            moment = chance.randrange(disk.length + 1)
            if number % 2:
                moment = min(chance.choice(acknowledged) + chance.randrange(4), disk.length)
            shutil.rmtree(rebuilt, ignore_errors=True)
            trial_seed = chance.randrange(1 << 30)
            disk.build(rebuilt, moment, random.Random(trial_seed))
            n_done = sum(at < moment for at in acknowledged)
            states = [None if creates else START, *((START,) if creates else ())]
            states += [step.after for step in steps]
            allowed = states[n_done : n_done + 2] + ([{}] if creates and n_done == 0 else [])
            what = f"session {seed}, moment {moment} of {disk.length}, {trial_seed}"
            with self._tally.trial(what) as trial:
                after = here(lambda: self._look(rebuilt / "index"))
                if after.end != "returned":
                    trial.crashed(f"{after.end}: {after.value}")
                    continue
                state = after.value["state"]
                if state not in allowed:
                    older = state in states[:n_done]
                    (trial.lost if older else trial.half)(f"after {n_done} steps")
                for problem in after.value["problems"]:
                    trial.wrong(problem)

    def _do(self, room: Path, log: Path, steps: list[Step], creates: bool) -> None:
        shim.arm(room, f"record:{log}")
        if creates:
            self._oracle.create(room / "index", START).close()
            shim.mark("created")
        with hashret.open(room / "index") as index:
            for step in steps:
                step.apply(index)
                shim.mark("done")
        shim.disarm()

    @staticmethod
    def _check_recording(disk: Disk, room: Path, rebuilt: Path) -> None:
        """That nothing is written past the library: else the experiment would prove nothing."""
        shutil.rmtree(rebuilt, ignore_errors=True)
        disk.build(rebuilt, disk.length, None)
        ends = [
            {
                path.relative_to(top): path.is_file() and path.read_bytes()
                for path in top.rglob("*")
                if not path.name.endswith("-shm")
            }
            for top in (room, rebuilt)
        ]
        if ends[0] != ends[1]:
            other = sorted(str(p) for p in {*ends[0], *ends[1]} if ends[0].get(p) != ends[1].get(p))
            raise RuntimeError(f"Something was written past the library: {other}")

    def _look(self, path: Path) -> dict[str, Any]:
        found = self._oracle.examine(path)
        problems = list(found.problems)
        if found.state is not None:
            with hashret.open(path) as index:
                index.add(items({KEYS[250]: 1}))
            again = self._oracle.examine(path)
            problems += [f"after another add: {line}" for line in again.problems]
            if again.state != {**found.state, KEYS[250]: 1}:
                problems.append("another add did not do what it should")
        return {"state": found.state, "problems": problems}
