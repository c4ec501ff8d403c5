"""The application: routes, guards, errors."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hashret.web import schemas
from hashret.web.api import api
from hashret.web.guards import Guards
from hashret.web.item_routes import item_routes
from hashret.web.page_answers import answer_of
from hashret.web.pages import pages
from hashret.web.problems import REQUEST_ERROR, Problem, problem_of
from hashret.web.served import Served
from hashret.web.server_metrics import Measured, Metrics
from hashret.web.settings import Settings
from hashret.web.showing import shown
from hashret.web.warming import warm
from hashret.web.working import Workers


def create_app(settings: Settings, *, tells: bool = True) -> FastAPI:
    """An application that serves indexes; the state of the app holds ``served`` and ``workers``.

    Args:
        settings: what is served, and how.
        tells: whether this process says that its start takes long; of several, one does.
    """
    served = Served(settings)
    workers = Workers(settings.limits)
    metrics = Metrics()

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        await workers.run(lambda: warm(served, tells=tells))
        # What is there now stays: looking through it for what does not would stop all for 0.1 s.
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()
        workers.close()
        served.close()

    app = FastAPI(
        title="hashret",
        summary="Semantic hashing: items near to a text, an image, a vector, by binary codes.",
        version=version("hashret"),
        docs_url=None,  # that page would load its script from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=living,
    )
    app.state.served = served
    app.state.workers = workers
    app.include_router(api(served, workers, metrics))
    app.include_router(item_routes(served, workers))
    app.include_router(pages(served, workers, metrics))
    _answer_errors(app, served)
    _describe_token(app, settings)
    app.add_middleware(Guards, settings=settings)
    app.add_middleware(Measured, metrics=metrics)
    return app


def _answer_errors(app: FastAPI, served: Served) -> None:
    async def answer(request: Request, error: Exception) -> Response:
        problem = problem_of(_in_our_words(request, error))
        path = request.url.path
        first = path.split("/")[1] if "/" in path else ""
        index = next((one.name for one in served if one.name == first), None)
        return answer_of(problem, path, request.headers.get("accept", ""), index)

    for kind in (HTTPException, RequestValidationError, Problem, Exception):
        app.add_exception_handler(kind, answer)


def _in_our_words(request: Request, error: Exception) -> Exception:
    """The errors of the framework as problems."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return Problem(
            422,
            f"{place}: {first['msg']}",
            "The limits are told by /openapi.json.",
            kind=REQUEST_ERROR,
        )
    if isinstance(error, HTTPException):
        place = shown(request.url.path)
        messages = {404: f"There is nothing at {place}."}
        remedies = {
            404: "The first page lists the indexes; /openapi.json describes the API.",
            405: "/openapi.json tells which methods there are.",
        }
        return Problem(
            error.status_code,
            messages.get(error.status_code, str(error.detail)),
            remedies.get(error.status_code, "Change the request."),
            kind="HTTPError",
            headers=error.headers,
        )
    return error


def _describe_token(app: FastAPI, settings: Settings) -> None:
    """Tell in the description of the API what takes the token."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas.with_token(plain(), guards_reads=settings.guards_reads)
        return plain()

    app.openapi = described  # type: ignore[method-assign]
