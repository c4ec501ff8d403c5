"""Errors in one shape: what was wrong, and what to do."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from hashret.errors import (
    DamagedIndexError,
    EncoderMismatchError,
    HashretError,
    IndexChangedError,
    IndexLockedError,
    IndexNotFoundError,
    InputError,
    KeyNotFoundError,
    ShardUnavailableError,
    UsageError,
)
from hashret.web.json_text import to_json

_log = logging.getLogger("hashret.web")

REQUEST_ERROR = "RequestError"
"""The kind of an error that the description of the API foretells."""

_MOST_KEY = 80
_AGAIN = "Ask again in a moment."
_ON_THE_SERVER = "On the server, `hashret verify` tells what is wrong; its log says more."


class Problem(Exception):  # noqa: N818 - it is an answer before it is an error
    """A request that cannot be answered.

    Attributes:
        status: the HTTP status.
        kind: names the error, as the class of a :class:`~hashret.HashretError` does.
        message: what was expected and what came.
        remedy: what to do.
        headers: to be sent with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        remedy: str,
        *,
        kind: str = "UsageError",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say what is wrong."""
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.remedy = remedy
        self.headers = dict(headers or {})

    def to_dict(self) -> dict[str, Any]:
        """The body of the answer, as JSON values."""
        return {"error": {"message": self.message, "remedy": self.remedy, "kind": self.kind}}

    def body(self) -> bytes:
        """The body of the answer."""
        return to_json(self.to_dict())


def problem_of(error: BaseException) -> Problem:
    """What to answer where a request met an error; what a reader cannot mend is logged."""
    if isinstance(error, Problem):
        return error
    kind = type(error).__name__
    if isinstance(error, KeyNotFoundError):
        remedy = "Choose one of its items, or look for something like it."
        which = "this key" if error.key is None else f"the key {_short(error.key)!r}"
        return Problem(404, f"No item of this index has {which}.", remedy, kind=kind)
    if isinstance(error, IndexLockedError):
        return Problem(503, "Another process is writing to the index.", _AGAIN, kind=kind,
                       headers={"Retry-After": "1"})  # fmt: skip
    if isinstance(error, IndexChangedError):
        return Problem(503, "The index is being changed.", _AGAIN, kind=kind,
                       headers={"Retry-After": "1"})  # fmt: skip
    if isinstance(error, ShardUnavailableError):
        _log.error("%s", error)
        return Problem(503, "Some shards of the cluster cannot be reached.", _AGAIN, kind=kind,
                       headers={"Retry-After": "5"})  # fmt: skip
    if isinstance(error, IndexNotFoundError):
        _log.error("%s", error)
        return Problem(500, "The index is no longer there.",
                       "Put it back, or serve another one.", kind=kind)  # fmt: skip
    if isinstance(error, DamagedIndexError):
        _log.error("%s", error)
        return Problem(500, "The index is damaged.", _ON_THE_SERVER, kind=kind)
    if isinstance(error, EncoderMismatchError | InputError | UsageError):
        message, remedy = _parted(str(error))
        return Problem(422, message, remedy, kind=kind)
    if isinstance(error, HashretError | OSError | MemoryError):
        _log.error("%s", error)
        return Problem(500, "The index could not be read.", _ON_THE_SERVER, kind=kind)
    _log.error("A request met something unforeseen.", exc_info=error)
    return Problem(500, "The server met something it did not foresee.",
                   "Its log says more; please report it.", kind="HashretError")  # fmt: skip


def _short(key: str) -> str:
    return key if len(key) <= _MOST_KEY else f"{key[: _MOST_KEY - 1]}…"


def _parted(text: str) -> tuple[str, str]:
    """What was wrong, and what to do about it, which follows where an error knows it."""
    message, *more = re.split(r"(?<=[.?])\s+(?=[A-Z])", text, maxsplit=1)
    return message, more[0] if more else "Change the request."
