"""Nowhere to write: a small file system filled to the brim, and folders one may not write to."""

from __future__ import annotations

import codecs
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hashret
from faults.children import Tell, done, in_child
from faults.oracle import KEYS, Oracle, items, state_of
from faults.tally import Tally, Trial
from faults.walk import OPERATIONS, START, Walk

PAGE = 4096
SIZE = 6 << 20
NOBODY = 65534


class NotPermittedError(Exception):
    """This user may not do what an experiment needs."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few megabytes, mounted in ``folder`` for a while.

    Raises:
        NotPermittedError: it cannot be mounted.
    """
    place = folder / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        raise NotPermittedError(f"No file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


class FullDisk(Walk):
    """The operations on a disk that has room for so many pages and no more."""

    @contextmanager
    def _under(self, fault: str) -> Iterator[None]:
        kind, _, pages = fault.partition(":")
        if kind != "pages":
            yield
            return
        filler = self._room.parent / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 16, PAGE):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
            file.truncate(max(0, file.tell() // PAGE - int(pages)) * PAGE)
        try:
            yield
        finally:
            filler.unlink()

    def fill(self, step: int) -> None:
        """Leave 0, ``step``, 2 ``step``, ... pages, until all of an operation goes well."""
        for operation in OPERATIONS:
            files = self._clean(operation)[2]
            pages, well = 0, 0
            while well < 2 and pages < SIZE // PAGE:
                refused = self._tally.refused
                self._trial(operation, f"pages:{pages}", files)
                well = well + 1 if self._tally.refused == refused else 0
                pages += step


class Forbidden:
    """An ordinary user meets what may not be written, or not be read.

    Args:
        oracle: knows the truth.
        folder: an empty folder that every user may enter.
        tally: where the outcome is counted.
    """

    def __init__(self, oracle: Oracle, folder: Path, tally: Tally) -> None:
        """Become another user in children only: that takes a super-user here.

        Raises:
            NotPermittedError: this process is not one.
        """
        if os.geteuid() != 0:
            raise NotPermittedError("Only the super-user can become another user for a trial.")
        self._oracle, self._folder, self._tally = oracle, folder, tally

    def run(self) -> None:
        """Every trial: what is made forbidden, and what must still be answered."""
        for name, mode, answers in (
            (".", 0o555, True),
            ("segments", 0o555, True),
            ("segments", 0o000, True),
            ("items.db", 0o444, True),
            ("items.db", 0o000, False),
            ("encoder", 0o000, False),
            ("write.lock", 0o000, True),
            (".", 0o000, False),
        ):
            self._trial(name, mode, answers)
        self._trial_of_create()

    def _trial(self, name: str, mode: int, answers: bool) -> None:
        path = self._folder / f"{name.strip('.')}-{mode:o}"
        done(lambda _: self._make(path, name, mode))
        with self._tally.trial(f"{name} of mode {mode:o}", refused=True) as trial:
            came = in_child(lambda _: self._as_nobody(path))
            if came.end != "returned":
                trial.crashed(f"{came.end}: {came.value}")
                return
            self._judge(trial, came.value, answers, path)
            # What is left is as it was, now that it may be read and written again.
            (path / name).chmod(0o755)
            after = in_child(lambda _: vars(self._oracle.examine(path)))
            if after.end != "returned":
                trial.crashed(f"then {after.end}: {after.value}")
                return
            if after.value["state"] != came.value["expected"] or after.value["problems"]:
                trial.half(f"then: {after.value['problems']}")

    def _make(self, path: Path, name: str, mode: int) -> None:
        self._oracle.create(path, START).close()
        for inner in (path, *path.rglob("*")):
            os.chown(inner, NOBODY, NOBODY)
        (path / name).chmod(mode)

    def _as_nobody(self, path: Path) -> dict[str, Any]:
        codecs.lookup("ascii")  # while the standard library may be read
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        came: dict[str, Any] = {"refused": [], "read": None, "expected": START}
        try:
            with hashret.open(path) as index:
                state, problems = self._oracle.held(index)
                came["read"] = [state == START, problems]
                index.add(items(state_of(KEYS[130:135])))
                came["expected"] = {**START, **state_of(KEYS[130:135])}
        except hashret.HashretError as error:
            came["refused"].append(str(error))
        return came

    def _judge(self, trial: Trial, came: dict[str, Any], answers: bool, path: Path) -> None:
        if came["read"] not in (None, [True, []]):
            trial.wrong(f"read wrongly: {came['read'][1]}")
        if answers and came["read"] is None:
            trial.wrong(f"it could be read, but: {came['refused']}")
        if not came["refused"] and came["expected"] == START:
            trial.wrong("nothing was refused, and nothing was done")
        for line in came["refused"]:
            if str(path) not in line or "\n" in line:
                trial.wrong(f"no clear error: {line}")

    def _trial_of_create(self) -> None:
        parent = self._folder / "forbidden"
        parent.mkdir(mode=0o555)

        def create(_: Tell) -> str:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            try:
                self._oracle.create(parent / "index", START).close()
            except hashret.HashretError as error:
                return str(error)
            return ""

        with self._tally.trial("create in a forbidden folder", refused=True) as trial:
            came = in_child(create)
            if came.end != "returned":
                trial.crashed(f"{came.end}: {came.value}")
            elif str(parent) not in came.value or list(parent.iterdir()):
                trial.wrong(f"no clear error: {came.value!r}, {list(parent.iterdir())}")
