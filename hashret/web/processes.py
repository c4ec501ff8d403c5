"""Several processes that answer, each with a socket of its own on the same port."""

from __future__ import annotations

import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

from hashret.errors import HashretError

WATCH_SECONDS = 0.5
LEAST_SECONDS = 5.0
"""A process that ends sooner would end again."""

END_SECONDS = 10.0

Work = Callable[[socket.socket, int], None]


def run_processes(work: Work, listeners: Sequence[socket.socket]) -> None:
    """Run ``work`` for each socket and its number, in processes of their own, until a signal comes.

    The system spreads connections over the sockets. A process that dies is followed by another one
    on the same socket, which meanwhile keeps who wants to connect.

    Raises:
        HashretError: a process ends right after its start.
    """
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    context = multiprocessing.get_context("spawn")  # a fork would share what is open

    def start(place: int) -> BaseProcess:
        process = context.Process(target=work, args=(listeners[place], place))
        process.start()
        return process

    processes = [(start(place), time.monotonic()) for place in range(len(listeners))]
    try:
        while not ending.wait(WATCH_SECONDS):
            for place, (process, started) in enumerate(processes):
                if process.is_alive():
                    continue
                if time.monotonic() - started < LEAST_SECONDS:
                    raise HashretError(
                        f"A process of the server ended with {process.exitcode} right after its "
                        "start; what it said is above."
                    )
                processes[place] = start(place), time.monotonic()
    finally:
        _end([process for process, _ in processes])


def _end(processes: Sequence[BaseProcess]) -> None:
    """Let them answer what they have begun, but not for long."""
    for process in processes:
        process.terminate()
    latest = time.monotonic() + END_SECONDS
    for process in processes:
        process.join(max(0.0, latest - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
