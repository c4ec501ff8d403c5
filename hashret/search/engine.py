"""Which engine answers: compiled kernels, or NumPy alone while they would not pay.

Importing the compiler takes longer than many searches with NumPy, and a shell command does but one;
compiling takes longer yet, once on a machine for each kind of search and of codes. As in renting or
buying skis, NumPy answers until it has taken as long as that would: whatever comes, that is never
more than twice as long as the better choice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeAlias

from hashret.search import machine
from hashret.search.segment import Segment

# Read when numba is imported: where colorama is installed, it would speak to the terminal.
os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")

_log = logging.getLogger("hashret")

Engine: TypeAlias = Literal["numpy", "compiled"]
Task: TypeAlias = Literal["within", "nearest"]

IMPORT_SECONDS = 0.35
"""Importing the compiler and loading kernels that were compiled before."""
COMPILE_SECONDS = 15.0
"""Compiling the kernels of a task for one kind of codes."""
QUERY_SECONDS = 200e-6
"""What a query in a batch is expected to take with NumPy."""

_KERNELS = "hashret.search.compiled"


class _State:
    """What this process has spent and found out."""

    spent = 0.0
    kernels: ModuleType | None = None
    ready: set[tuple[Task, str]] = set()  # noqa: RUF012 - one state for the process
    broken = False
    forced: Engine | None = None


def use(engine: Engine | None) -> None:
    """Make every search of this process use one engine; None chooses. Answers are the same."""
    _State.forced = engine


def compiled(task: Task, n_queries: int, segments: Collection[Segment]) -> ModuleType | None:
    """The module ``compiled``, if it is to answer ``n_queries`` from segments, else None."""
    if _State.forced == "numpy" or (_State.broken and _State.forced is None):
        return None
    if _State.kernels is not None:
        if _State.forced:
            return _State.kernels
        for one in segments:
            if (task, one.kind) not in _State.ready:
                break
        else:
            return _State.kernels
    if _State.forced is None:
        expected = _State.spent + n_queries * QUERY_SECONDS
        if expected < IMPORT_SECONDS:
            return None
        price = IMPORT_SECONDS if _State.kernels is None else 0.0
        wanted = {(task, one.kind) for one in segments} - _State.ready
        price += sum(0 if _marker(*one).exists() else COMPILE_SECONDS for one in wanted)
        if expected < price:
            return None
        _State.spent = max(0.0, _State.spent - price)
    try:
        _State.kernels = import_module(_KERNELS)
    except Exception as error:
        if _State.forced:
            raise
        _log.warning("The compiled search does not work here (%r); NumPy answers.", error)
        _State.broken = True
        return None
    return _State.kernels


def answered(task: Task, segments: Collection[Segment]) -> None:
    """Note that the kernels of a task have answered: they are compiled and kept now."""
    for segment in segments:
        if (task, segment.kind) not in _State.ready:
            _State.ready.add((task, segment.kind))
            with suppress(OSError):
                marker = _marker(task, segment.kind)
                marker.parent.mkdir(parents=True, exist_ok=True)
                marker.touch()


def count(seconds: float) -> None:
    """Note that NumPy took so long for a search, for :func:`compiled`."""
    _State.spent += seconds


def _marker(task: Task, kind: str) -> Path:
    """An empty file that says: these kernels, as they are now, were compiled on this machine."""
    costs = machine.cache_file()
    # Where nothing is to be kept: a file in this file, which never exists and cannot be made.
    folder = Path(__file__) if costs is None else costs.parent
    return folder / f"kernels-{kernels_stamp()}-{task}-{kind}"


def kernels_stamp() -> str:
    """A hash of the source of all kernels, of numba's version and of the machine."""
    if not _Stamp.value:
        digest = sha256(repr(sorted(machine.machine().items())).encode())
        for path in sorted(Path(__file__).parent.glob("*_kernels.py")):
            digest.update(path.read_bytes())
        digest.update(Path(__file__).with_name("compiling.py").read_bytes())
        _Stamp.value = digest.hexdigest()[:16]
    return _Stamp.value


class _Stamp:
    value = ""
