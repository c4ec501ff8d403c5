"""Finding Ray, and a cluster on it."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from hashret.errors import HashretError, UsageError

NAMESPACE = "hashret"
REACHED_SECONDS = 5.0
CLIENT = "ray://"

_connecting = threading.Lock()
_ours: tuple[str, str] | None = None
"""The job that this process is on the Ray that it connected to, and the address of that."""


def connect(address: str | None) -> Any:
    """Connect to Ray, if this process is not connected yet; returns the module ``ray``.

    Args:
        address: of a running Ray: ``"host:6379"``, ``"ray://host:10001"`` from a machine that is
            not part of it, or ``"auto"`` for that of this machine. None takes the one that the
            variable ``RAY_ADDRESS`` names, else starts Ray for as long as this process lives.

    Raises:
        UsageError: Ray is not installed.
        UsageError: this process is part of another Ray than that at the address.
        HashretError: there is no Ray at the address.
    """
    global _ours
    with _connecting:
        ray = _imported()
        if not ray.is_initialized():
            address = address or os.environ.get("RAY_ADDRESS")
            _start(ray, address)
            _ours = _job(ray), address or ""
        elif address not in (None, "auto") and _ours is not None:
            job, connected_to = _ours
            if job == _job(ray) and connected_to not in (address, "auto"):
                raise UsageError(
                    f"This process is connected to {connected_to or 'a Ray of its own'}, and can "
                    f"be to one Ray at a time: call ray.shutdown() before it asks at {address}."
                )
    return ray


def _job(ray: Any) -> str:
    return str(ray.get_runtime_context().get_job_id())


def _imported() -> Any:
    # Ray prints on stdout, among results, what befalls nodes; what matters of it, hashret says. Ray
    # reads what not to print only as it is imported.
    silent = {
        "RAY_DEDUP_LOGS": "1",
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
        # Else it prints pages about any process that is asked to end, and takes its handlers away.
        "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    }
    with _environment(silent):
        try:
            import ray
        except ImportError as error:
            raise UsageError(
                "A cluster runs on Ray, which is not installed: pip install 'hashret[ray]'."
            ) from error
    return ray


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def check_reachable(address: str | None) -> None:
    """Refuse the address of a Ray that cannot be reached, before any work is done for it.

    Args:
        address: as of :func:`connect`; None for what ``RAY_ADDRESS`` names, if anything.

    Raises:
        HashretError: nothing answers there.
    """
    address = address or os.environ.get("RAY_ADDRESS") or ""
    place = urlsplit(address if "://" in address else f"ray://{address}")
    with suppress(ValueError):  # Ray tells what is wrong with it
        if place.hostname is None or place.port is None:
            return
        try:
            socket.create_connection((place.hostname, place.port), REACHED_SECONDS).close()
        except OSError as error:
            raise HashretError(
                f"There is no Ray at {address} ({error.strerror or error}). `ray start --head` "
                "starts it; --address names it."
            ) from error


def _start(ray: Any, address: str | None) -> None:
    check_reachable(address)
    logging.getLogger("ray").setLevel(logging.ERROR)  # its other messages are for Ray's operator
    own: dict[str, Any] = {} if address else {"include_dashboard": False}
    # Else it tells each second that it is not let in.
    calm = {"RAY_BACKEND_LOG_LEVEL": os.environ.get("RAY_BACKEND_LOG_LEVEL", "error")}
    try:
        with _environment(calm if address else {}):
            ray.init(
                address or "local",  # without one, Ray takes any that runs on this machine
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                **own,
            )
    except Exception as error:  # Ray raises many kinds, none of them its own.
        if address and address != "auto":
            raise HashretError(
                f"What is at {address} does not let this process in ({first_line(error)}): it may "
                "be no Ray, another version of it, or ask for a token: then set "
                "RAY_AUTH_MODE=token (and RAY_AUTH_TOKEN, where ~/.ray/auth_token is not its own)."
            ) from error
        where = "There is no Ray on this machine" if address else "Ray could not be started"
        raise HashretError(
            f"{where} ({first_line(error)}). `ray start --head` starts it; --address names it."
        ) from error


def split_address(place: str) -> tuple[str, str]:
    """The address of Ray and the name of a cluster in ``ray://host:port/NAME``.

    Raises:
        UsageError: one of them is missing.
    """
    server, _, name = place.removeprefix(CLIENT).partition("/")
    if not server or not name.strip("/"):
        raise UsageError(
            f"A cluster on Ray is named by {CLIENT}HOST:PORT/NAME, got {place!r}; NAME is one "
            "under ./indexes there, or a path that begins with another slash."
        )
    return CLIENT + server, name


def first_line(error: Exception) -> str:
    """What an error of Ray says first, which is what went wrong; pages of advice may follow."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # A line that ends in a colon says that the next one tells.
    told = lines[0] if not lines[0].endswith(":") or len(lines) < 2 else " ".join(lines[:2])
    return told.rstrip(".:")
