"""Pages as answers to requests."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from hashret.web.json_text import as_json
from hashret.web.problems import Problem, problem_of
from hashret.web.showing import rendered, static_file

_HTML = "text/html; charset=utf-8"


def answer_of(problem: Problem, path: str, accept: str, index: str | None = None) -> Response:
    """An error as who asked can read it: a page for a browser, but of the API; else JSON.

    Args:
        problem: what was wrong.
        path: what was asked for.
        accept: the header ``Accept``.
        index: the index that the path is about, where it is known.
    """
    if "text/html" in accept.lower() and not _is_for_programs(path):
        return _problem_page(problem, index)
    return as_json(
        problem.to_dict(), problem.status, {"cache-control": "no-store", **problem.headers}
    )


def _is_for_programs(path: str) -> bool:
    return path.startswith("/api/") or path.endswith(".json") or path in ("/healthz", "/metrics")


async def page(make: Callable[[], Awaitable[Response]]) -> Response:
    """A page, or one that says what was wrong."""
    try:
        return await make()
    except Exception as error:
        return _problem_page(as_problem(error))


def _problem_page(problem: Problem, index: str | None = None) -> Response:
    headers = dict(problem.headers)
    return as_page("problem.html", problem.status, headers, problem=problem, index=index)


def as_problem(error: Exception) -> Problem:
    """What to answer where a request met an error."""
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail), "Change the request.")
    return problem_of(error)


def as_page(
    template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> Response:
    """A page of a template."""
    content = rendered(
        template, stylesheet=_address("hashret.css"), script=_address("hashret.js"), **values
    )
    return Response(content, status, {"cache-control": "no-store", **(headers or {})}, _HTML)


@cache
def _address(name: str) -> str:
    """Of a static file; another one for another content, so that it may be kept for long."""
    return f"/static/{name}?{hashlib.sha256(static_file(name)).hexdigest()[:12]}"
