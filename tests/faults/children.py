"""One trial, one forked child: it may be killed, crash or hang without harm to the others."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

SECONDS = 60.0
"""A child that has not answered by then hangs."""

Tell: TypeAlias = Callable[[Any], None]


@dataclass(frozen=True)
class Answer:
    """How a child ended.

    Attributes:
        end: ``"returned"``, ``"raised"``, ``"killed"`` (by SIGKILL, as planned), ``"crashed"`` (by
            another signal) or ``"hung"``.
        value: what it returned, the traceback of what it raised, or the signal.
        told: what it told before.
    """

    end: str
    value: Any = None
    told: list[Any] = field(default_factory=list)


class Child:
    """A forked process that does some work, and tells of it while it lasts."""

    def __init__(self, work: Callable[[Tell], Any]) -> None:
        """Fork; ``work`` is given a function that tells the parent a JSON value at once."""
        self._pipe, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._pipe)
            _do(work, writing)
        os.close(writing)

    def answer(self, seconds: float = SECONDS) -> Answer:
        """Wait for the end, so long at most; then the child is killed."""
        content, in_time = _read_all(self._pipe, time.monotonic() + seconds)
        os.close(self._pipe)
        if not in_time:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        lines = [json.loads(line) for line in content.split(b"\n")[:-1]]
        told = [value for kind, value in lines if kind == "told"]
        if not in_time:
            return Answer("hung", None, told)
        if os.WIFSIGNALED(status):
            by = os.WTERMSIG(status)
            kind = "killed" if by == signal.SIGKILL else "crashed"
            return Answer(kind, f"signal {by}", told)
        if not lines or lines[-1][0] == "told":
            return Answer("crashed", f"exit {os.waitstatus_to_exitcode(status)}", told)
        return Answer(*lines[-1], told)


def in_child(work: Callable[[Tell], Any], seconds: float = SECONDS) -> Answer:
    """Fork, do some work in the child, and tell how that ended."""
    return Child(work).answer(seconds)


def done(work: Callable[[Tell], Any]) -> Any:
    """What a child returns.

    Raises:
        RuntimeError: it did not come to that.
    """
    answer = in_child(work)
    if answer.end != "returned":
        raise RuntimeError(f"{answer.end}: {answer.value}")
    return answer.value


def here(work: Callable[[], Any]) -> Answer:
    """Do some work in this process: many times as fast, for what is not expected to crash."""
    try:
        return Answer("returned", work())
    except Exception:
        return Answer("raised", traceback.format_exc(limit=-3))


def _do(work: Callable[[Tell], Any], pipe: int) -> None:
    def tell(kind: str, value: Any) -> None:
        os.write(pipe, json.dumps([kind, value]).encode() + b"\n")

    try:
        tell("returned", work(lambda value: tell("told", value)))
    except BaseException:
        tell("raised", traceback.format_exc(limit=-3))
    os._exit(0)


def _read_all(pipe: int, deadline: float) -> tuple[bytes, bool]:
    content = b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            chunk = os.read(pipe, 1 << 20)
            if not chunk:
                return content, True
            content += chunk
    return content, False
