"""Pages as answers to requests."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from hashret.web.problems import Problem, problem_of
from hashret.web.showing import rendered, static_file

_HTML = "text/html; charset=utf-8"


async def page(make: Callable[[], Awaitable[Response]]) -> Response:
    """A page, or one that says what was wrong."""
    try:
        return await make()
    except Exception as error:
        problem = as_problem(error)
        return as_page(
            "problem.html", problem.status, headers=dict(problem.headers), problem=problem
        )


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
