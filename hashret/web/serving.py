"""Running the server: processes, sockets, and connections that take their time."""

from __future__ import annotations

import os
import resource
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn

from hashret.errors import HashretError
from hashret.web.app import create_app
from hashret.web.connections import GuardedProtocol
from hashret.web.processes import run_processes
from hashret.web.settings import Settings
from hashret.web.warming import PROGRESS

_SWITCH_SECONDS = 0.0005
"""A thread that computes lets the one that answers go on after so long."""

_BACKLOG = 2048

_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "%(levelname)s: %(message)s"},
        "bare": {"format": "%(message)s"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "plain"},
        "progress": {"class": "logging.StreamHandler", "formatter": "bare"},
    },
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "hashret": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        PROGRESS: {"handlers": ["progress"], "level": "INFO", "propagate": False},
    },
}


def listen(host: str, port: int, count: int = 1) -> list[socket.socket]:
    """Sockets that listen on the same port, one for each process; port 0 takes a free one.

    Raises:
        HashretError: the address is taken or does not exist.
    """
    listeners: list[socket.socket] = []
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        for _ in range(count):
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            if not listeners[1:]:
                # Sockets that share a port do not tell whether somebody else has it.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(address)
                    address = (address[0], probe.getsockname()[1], *address[2:])
            if count > 1:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise HashretError(
            f"Cannot listen on {host}, port {port} ({error.strerror or error}). Choose another "
            "with --port or --host."
        ) from error
    return listeners


def serve(
    settings: Settings,
    listeners: list[socket.socket],
    started: Callable[[], None] = lambda: None,
) -> None:
    """Answer until a signal comes to end, in a process for each socket."""
    _allow_many_connections()
    if len(listeners) == 1:
        started()
        _work(settings, listeners[0], 0)
        return
    with tempfile.TemporaryDirectory(prefix="hashret-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        started()
        run_processes(partial(_work, settings), listeners)


def _work(settings: Settings, listener: socket.socket, number: int) -> None:
    """What one process does."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    GuardedProtocol.limits = settings.limits
    config = uvicorn.Config(
        create_app(settings, tells=not number),
        loop="asyncio",  # where many connections ask, uvloop lets some wait for a second
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=_LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    with suppress(KeyboardInterrupt):  # raised once more when all is closed
        uvicorn.Server(config).run(sockets=[listener])


def _allow_many_connections() -> None:
    """Each takes a file of which a process may have few by default."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 1 << 16), most))
