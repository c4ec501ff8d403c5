"""An interrupt that is heard even where Python drops it."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED_EXIT_CODE = 130

_came = threading.Event()


def interrupt_came() -> bool:
    """Whether the user has interrupted the command."""
    return _came.is_set()


def stop_if_interrupted() -> None:
    """Raise the interrupt again that came before; to be called at every step of long work.

    Python raises an interrupt between any two instructions. Where these belong to a destructor or
    to a callback of a weak reference (one runs after each import, and TensorFlow is thousands of
    them) or where a library catches everything, the exception is dropped and the work goes on.
    """
    if _came.is_set():
        raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[None]:
    """Note every interrupt while the block runs, besides raising it.

    Where interrupts are ignored, or something else has its own way with them, nothing changes.
    """
    _came.clear()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    told_of_dropped = sys.unraisablehook

    def without_interrupts(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            told_of_dropped(dropped)

    signal.signal(signal.SIGINT, _note)
    sys.unraisablehook = without_interrupts
    try:
        yield
    finally:
        sys.unraisablehook = told_of_dropped
        signal.signal(signal.SIGINT, signal.default_int_handler)


def forget_unhandled() -> None:
    """Let the process end with its exit code, where Python would have it die of the signal.

    An interrupt that leaves code which C ran from text (NumPy and TensorFlow do, while they are
    imported) is taken for unhandled for good; running any other such text clears that.
    """
    ctypes.pythonapi.PyRun_SimpleString(b"")


def _note(number: int, frame: FrameType | None) -> None:
    _came.set()
    signal.default_int_handler(number, frame)
