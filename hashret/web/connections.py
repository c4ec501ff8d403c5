"""Connections whose peers send nothing, or slowly, or without an end."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hashret.web.problems import Problem
from hashret.web.settings import Limits

_GO_ON = b"HTTP/1.1 100 "
_MOST_PARSED = 60_000
"""The parser of addresses counts in 16 bits; a longer one is taken apart here."""


class _WholeAnswers:
    """A transport that sends the head of an answer together with what follows it.

    Two writes would be two packets, and two ways through the system.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        is_head = data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n")
        if is_head and not self._head and not data.startswith(_GO_ON):
            self._head = data
            return
        self._transport.write(self._head + data)
        self._head = b""

    def flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()


class GuardedProtocol(HttpToolsProtocol):
    """HTTP whose heads are short and arrive soon; the server is closed to nobody by the idle.

    What is waited for outside of a request is the head of one: it must be there in time. Where
    there are more connections than allowed, that which has waited longest makes room.
    """

    limits = Limits()
    _waiting: dict[GuardedProtocol, None] = {}  # noqa: RUF012 - one order for the process

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the head of the first request."""
        self._answers = _WholeAnswers(transport)
        super().connection_made(cast("asyncio.Transport", self._answers))
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wait_for_head()
        if len(self.connections) > self.limits.connections and self._waiting:
            next(iter(self._waiting)).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._have_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head is too long."""
        if self in self._waiting:
            self._head_bytes += len(data)
        super().data_received(data)
        if self in self._waiting and self._head_bytes > self.limits.header_bytes:
            self._refuse(431, f"The head is longer than {self.limits.header_bytes:,} bytes.")

    def on_message_begin(self) -> None:
        """A request begins, maybe behind another one."""
        super().on_message_begin()
        if self not in self._waiting:
            self._wait_for_head()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._have_head()
        address = self.url
        if len(address) <= _MOST_PARSED or not address.startswith(b"/"):
            super().on_headers_complete()
            return
        raw_path, _, query = address.partition(b"#")[0].partition(b"?")
        path = unquote(raw_path.decode("ascii"))
        self.url = b"/"
        super().on_headers_complete()
        # Whoever answers looks at it later.
        self.scope["path"], self.scope["raw_path"] = path, raw_path
        self.scope["query_string"] = query

    def on_response_complete(self) -> None:
        """The whole answer was given."""
        self._answers.flush()
        super().on_response_complete()

    def _wait_for_head(self) -> None:
        self._head_bytes = 0
        self._waiting[self] = None
        self._timer = self.loop.call_later(self.limits.header_seconds, self._too_late)

    def _have_head(self) -> None:
        self._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        if self._head_bytes:
            self._refuse(
                408, f"The head did not arrive within {self.limits.header_seconds:g} seconds."
            )
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        body = Problem(status, message, "Send a short head of HTTP/1.1, at once.").body()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
