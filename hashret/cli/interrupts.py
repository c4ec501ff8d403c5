"""An interrupt that is heard even where Python drops it, and a request to end that is one too."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_HEARD: dict[signal.Signals, Callable[[int, FrameType | None], Any] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""Signals, and what Python does with them if nobody says otherwise."""

_came: list[int] = []


def interrupt_came() -> bool:
    """Whether the user has interrupted the command, or something else has asked it to end."""
    return bool(_came)


def interrupted_exit_code() -> int:
    """128 and the number of the signal, as shells count: 130, or 143 for SIGTERM."""
    return 128 + (_came[0] if _came else signal.SIGINT)


def stop_if_interrupted() -> None:
    """Raise the interrupt again that came before; to be called at every step of long work.

    Python raises an interrupt between any two instructions. Where these belong to a destructor or
    to a callback of a weak reference (one runs after each import, and TensorFlow is thousands of
    them) or where a library catches everything, the exception is dropped and the work goes on.
    """
    if _came:
        raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[None]:
    """Note every interrupt while the block runs, besides raising it.

    Where interrupts are ignored, or something else has its own way with them, nothing changes.
    """
    _came.clear()
    in_main_thread = threading.current_thread() is threading.main_thread()
    heard = [
        number
        for number, usual in _HEARD.items()
        if in_main_thread and signal.getsignal(number) is usual
    ]
    if not heard:
        yield
        return
    told_of_dropped = sys.unraisablehook

    def without_interrupts(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            told_of_dropped(dropped)

    for number in heard:
        signal.signal(number, _note)
    sys.unraisablehook = without_interrupts
    try:
        yield
    finally:
        sys.unraisablehook = told_of_dropped
        for number in heard:
            signal.signal(number, _HEARD[number])


def forget_unhandled() -> None:
    """Let the process end with its exit code, where Python would have it die of the signal.

    An interrupt that leaves code which C ran from text (NumPy and TensorFlow do, while they are
    imported) is taken for unhandled for good; running any other such text clears that.
    """
    ctypes.pythonapi.PyRun_SimpleString(b"")


def _note(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    signal.default_int_handler(number, frame)
