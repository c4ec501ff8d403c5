"""A server in a process of its own, for tests to talk to."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

TOKEN = "a-token-that-tests-know"


class Server:
    """Where a server listens, and what it said."""

    def __init__(self, process: subprocess.Popen, address: str, said: list[str]) -> None:
        self.process = process
        self.address = address
        self.said = said
        self.port = int(address.rpartition(":")[2])

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=30, trust_env=False, **options)

    def post(self, place: str, json: dict, **options) -> httpx.Response:
        with self.client() as client:
            return client.post(place, json=json, **options)

    def get(self, place: str, **options) -> httpx.Response:
        with self.client() as client:
            return client.get(place, **options)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def lives(self) -> bool:
        return self.process.poll() is None and self.get("/healthz").status_code == 200

    def memory(self) -> int:
        """Resident bytes of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10


@contextmanager
def serving(*arguments: object, token: str | None = None, **environment: str) -> Iterator[Server]:
    """Run ``hashret serve`` with these arguments on a free port."""
    inherited = {name: text for name, text in os.environ.items() if name != "HASHRET_TOKEN"}
    if token is not None:
        inherited["HASHRET_TOKEN"] = token
    process = subprocess.Popen(
        [sys.executable, "-m", "hashret", "serve", "--port", "0", "--workers", "1"]
        + [str(argument) for argument in arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, **environment},
    )
    said: list[str] = []
    address = None
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"at (http://\S+)/ ", line):
            address = found[1]
            break
    assert address, "".join(said)
    # Read on, or a full pipe would stop the server.
    threading.Thread(target=lambda: said.extend(process.stderr), daemon=True).start()
    try:
        yield Server(process, address, said)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stderr.close()


def copied(trained: Path, folder: Path, *names: str) -> list[Path]:
    """Copies of indexes that a test may change."""
    return [Path(shutil.copytree(trained / name, folder / name)) for name in names]
