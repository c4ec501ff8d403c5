"""Requests of a client, with the standard library alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from hashret.errors import HashretError, UsageError, error_of


class Wire:
    """Sends JSON to a server and reads what it answers; each thread has a connection of its own.

    Attributes:
        address: of the server.
    """

    def __init__(self, address: str, token: str | None, timeout: float) -> None:
        """Name a server; it is asked when something is to be sent.

        Raises:
            UsageError: an address of another form.
        """
        parts = urlsplit(address if isinstance(address, str) else "")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise UsageError(f"A server's address is like http://127.0.0.1:8484, got {address!r}.")
        self.address = address.rstrip("/")
        self._parts = parts
        self._token = token
        self._timeout = timeout
        self._own = threading.local()

    def close(self) -> None:
        """Close the connection of this thread."""
        connection = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()
            self._own.connection = None

    def get(self, place: str, **parameters: Any) -> Any:
        """What is at a place; parameters that are None are left out."""
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            return self.send("GET", f"{place}?{urlencode(given)}" if given else place)
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r} is no Unicode text.") from error

    def post(self, place: str, body: Mapping[str, Any]) -> Any:
        """The answer to JSON values that are sent to a place."""
        return self.send("POST", place, encoded(body))

    def send(self, method: str, place: str, body: bytes | None = None) -> Any:
        """The answer to a request, as JSON values.

        Raises:
            HashretError: the server cannot be reached, or answers with an error: the same kind that
                an index would have raised.
        """
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            status, content = self._exchanged(method, self._parts.path + place, body, headers)
        except (OSError, HTTPException) as error:
            self.close()
            raise HashretError(
                f"{self.address} does not answer ({error}). Is `hashret serve` running there?"
            ) from error
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise HashretError(
                f"{self.address} is no hashret server: it answered {status} and no JSON."
            ) from error
        if status >= 400:
            raise _error(status, answer)
        return answer

    def _exchanged(
        self, method: str, place: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        connection: HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is not None:
            # The server closes what was idle. A request that is lost so may be sent again, but for
            # one that must not be answered twice.
            try:
                if method != "DELETE":
                    return _exchange(connection, method, place, body, headers)
            except (ConnectionError, HTTPException):
                pass
            connection.close()
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout)
        self._own.connection = connection
        return _exchange(connection, method, place, body, headers)


def encoded(body: Mapping[str, Any]) -> bytes:
    """Values as JSON.

    Raises:
        UsageError: JSON has no word for one of them.
    """
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"This cannot be sent to a server: {error}.") from error


def _exchange(
    connection: HTTPConnection, method: str, place: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    connection.request(method, place, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def _error(status: int, answer: Any) -> HashretError:
    """The error that the server met, or as near as there is."""
    told = answer.get("error") if isinstance(answer, dict) else None
    told = told if isinstance(told, dict) else {}
    message = " ".join(str(told[name]) for name in ("message", "remedy") if told.get(name))
    message = message or f"The server answered {status}."
    other = UsageError if status == 422 else HashretError
    return error_of(told.get("kind"), message) or other(message)
