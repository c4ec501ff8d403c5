"""Running the server: processes, sockets, and connections that take their time."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from hashret.errors import HashretError
from hashret.web.app import create_app
from hashret.web.connections import GuardedProtocol
from hashret.web.settings import Settings

_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s: %(message)s"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "plain"},
    },
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "hashret": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        HashretError: the address is taken or does not exist.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        raise HashretError(
            f"Cannot listen on {host}, port {port} ({error.strerror or error}). Choose another "
            "with --port or --host."
        ) from error
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


def serve(
    settings: Settings,
    listener: socket.socket,
    n_processes: int,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Answer until a signal comes to end."""
    _allow_many_connections()
    config = uvicorn.Config(
        partial(_application, settings),
        factory=True,
        workers=n_processes,
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=_LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    if n_processes == 1:
        started()
        uvicorn.Server(config).run(sockets=[listener])
        return
    with tempfile.TemporaryDirectory(prefix="hashret-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        started()
        Multiprocess(config, [listener]).run()


def _application(settings: Settings) -> FastAPI:
    GuardedProtocol.limits = settings.limits
    return create_app(settings)


def _allow_many_connections() -> None:
    """Each takes a file of which a process may have few by default."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 1 << 16), most))
