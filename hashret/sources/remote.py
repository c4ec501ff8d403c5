"""Files behind URLs, by fsspec, where it is installed."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

from hashret.errors import InputError, UsageError
from hashret.sources.metadata import printable

_copies: dict[str, Path] = {}

_fetch_stored: ContextVar[bool] = ContextVar("values of stored items are fetched", default=False)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.+", re.DOTALL)


def is_url(text: str) -> bool:
    """Whether this is the URL of a file: ``https://...``, ``s3://...``, ``zip://...::...``."""
    return _URL.match(text) is not None


@contextmanager
def fetching() -> Iterator[None]:
    """Let this thread or task read the values of stored items again from URLs.

    Otherwise only a URL that the caller names is fetched, as a source or as the value of a query:
    an index may come from anywhere, and its items name places.

    Example:
        >>> with hashret.sources.fetching():  # doctest: +SKIP
        ...     index.outliers()
    """
    token = _fetch_stored.set(True)
    try:
        yield
    finally:
        _fetch_stored.reset(token)


def check_may_fetch(url: str) -> None:
    """Refuse the URL of a stored item, unless :func:`fetching` allows it.

    Raises:
        InputError: it does not.
    """
    if not _fetch_stored.get():
        raise InputError(
            f"{printable(url)} is a URL, which is fetched only with --fetch "
            "(hashret.sources.fetching() in Python)"
        )


def fetched(url: str, *, again: bool = False) -> Path:
    """A copy of the file behind a URL, which lasts as long as this process.

    Args:
        url: what fsspec understands.
        again: fetch it even if there is a copy from before.

    Raises:
        InputError: there is no such file, or it cannot be fetched.
        UsageError: fsspec is missing, or what it needs for this kind of URL.
    """
    if url in _copies and not again:
        return _copies[url]
    system, path = file_system(url, "download the file and give its path")
    _copies[url] = _copy(url, system, path)
    return _copies[url]


def file_system(url: str, otherwise: str) -> tuple[Any, str]:
    """The file system of fsspec that a URL lies in, and the path there.

    Args:
        url: what fsspec understands.
        otherwise: what to do where fsspec cannot be had.

    Raises:
        InputError: no file system of fsspec takes the URL.
        UsageError: fsspec is missing, or what it needs for this kind of URL.
    """
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(
            f"{printable(url)} is a URL, for which fsspec is needed: pip install fsspec; or "
            f"{otherwise}."
        ) from error
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UsageError(
            f"{printable(url)} cannot be read: {str(error).rstrip('.')}. Install what is missing "
            f"with pip, or {otherwise}."
        ) from error
    except Exception as error:  # fsspec's file systems raise anything.
        raise _unreachable(url, error) from error
    return system, path


def _copy(url: str, system: Any, path: str) -> Path:
    name = re.split(r"[?#]", path.rstrip("/"))[0].rsplit("/", 1)[-1]
    folder = _folder() / hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    copy = folder / (name if name.strip(".") else "file")
    copy.unlink(missing_ok=True)  # rather than written over: it may be mapped
    try:
        if system.isdir(path):
            raise InputError(f"{printable(url)} is a folder; give the URL of a file.")
        system.get_file(path, str(copy))
    except InputError:
        raise
    except Exception as error:
        with suppress(OSError):
            copy.unlink(missing_ok=True)
        raise _unreachable(url, error) from error
    return copy


@lru_cache(maxsize=1)
def _kept() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="hashret-", ignore_cleanup_errors=True)


def _folder() -> Path:
    return Path(_kept().name)


def _unreachable(url: str, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"Cannot fetch {printable(url)}: there is no such file.")
    return InputError(
        f"Cannot fetch {printable(url)}: {printable(str(error)) or type(error).__name__}."
    )
