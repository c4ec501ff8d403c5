"""What goes wrong on other nodes, told here as the error that it was there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hashret.errors import HashretError, error_of

_WRITER = re.compile(r"^\s*name: (writer of .+?)\s*$", re.MULTILINE)
"""In what Ray says of an actor that died: its name."""


def told(error: BaseException) -> tuple[str, str] | None:
    """The kind and the message of an error of hashret's, wherever it was raised; None of others."""
    seen: BaseException | None = error
    while seen is not None:
        inner = getattr(seen, "cause", None)  # what Ray raises is also of the kind of its cause
        if inner is None and isinstance(seen, HashretError):
            return kind_and_message(seen)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__
    return None


def kind_and_message(error: HashretError) -> tuple[str, str]:
    """The kind of an error, as all processes know it, and its message."""
    kind = next(one for one in type(error).__mro__ if one.__module__ == HashretError.__module__)
    return kind.__name__, str(error)


def raised(kind: str, message: str) -> HashretError:
    """The error that :func:`kind_and_message` tells of."""
    return error_of(kind, message) or HashretError(message)


@contextmanager
def ray_failures() -> Iterator[None]:
    """Raise what Ray raises as an error of hashret's."""
    from ray.exceptions import ActorDiedError, RayError

    try:
        yield
    except RayError as error:
        found = told(error)
        if found is not None:
            raise raised(*found) from None
        writer = _WRITER.search(str(error)) if isinstance(error, ActorDiedError) else None
        if writer is not None:
            raise HashretError(
                f"The {writer[1]} died, and not for the first time: it is not started again any "
                "more. Often its node has too little memory; Ray's logs may tell more. What was "
                "stored before stays; run the same command again to go on."
            ) from error
        first = str(error).strip().split("\n")
        raise HashretError(
            f"Ray failed ({type(error).__name__}: {first[-1]}). What was stored before stays; run "
            "the same command again to go on."
        ) from error


def asked(replies: Sequence[Any]) -> list[Any]:
    """Wait for replies of actors; an error that one of them raised is raised here."""
    import ray

    with ray_failures():
        return list(ray.get(list(replies)))
