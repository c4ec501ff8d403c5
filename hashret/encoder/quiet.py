"""Keeping native libraries from chatting on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_taking_turns = threading.RLock()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what is written to file descriptor 2 meanwhile, by C++ code above all.

    TensorFlow and LiteRT announce their devices there when they start, and no setting of theirs
    turns that off. Exceptions pass through untouched.
    """
    # Descriptor 2 belongs to the whole process: two threads must not each keep the other's sink.
    with _taking_turns:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            saved = os.dup(2)
        except OSError:  # a process without stderr
            yield
            return
        try:
            with Path(os.devnull).open("wb") as sink:
                os.dup2(sink.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
