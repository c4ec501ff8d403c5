"""Pages to look at; every page has a JSON twin, whose address ends in ``.json``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from hashret.web.background_studies import Studies
from hashret.web.json_text import as_json
from hashret.web.page_answers import as_page, page
from hashret.web.search_pages import search_routes
from hashret.web.served import Served
from hashret.web.server_metrics import Metrics
from hashret.web.showing import STATIC_FILES, part, static_file
from hashret.web.study_pages import study_routes
from hashret.web.working import Workers

_AGE = "public, max-age=31536000, immutable"


def pages(served: Served, workers: Workers, metrics: Metrics) -> APIRouter:
    """The routes of the pages; they are no part of the API and of its description."""
    studies = Studies()

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        studies.close()

    router = APIRouter(include_in_schema=False, lifespan=living)

    @router.get("/")
    async def first_page() -> Response:
        return await page(lambda: _indexes(served, workers))

    @router.get("/indexes")
    async def indexes() -> Response:
        return RedirectResponse("/", 308)

    @router.get("/indexes.json")
    async def indexes_twin() -> Response:
        return as_json({"indexes": await workers.run(served.overview)})

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in STATIC_FILES:
            raise HTTPException(404)
        headers = {"cache-control": _AGE, "content-type": STATIC_FILES[name]}
        return Response(static_file(name), headers=headers)

    @router.get("/favicon.ico")
    async def icon() -> Response:
        return Response(static_file("icon.svg"), media_type=STATIC_FILES["icon.svg"])

    study_routes(router, served, workers, studies)
    search_routes(router, served, workers, metrics)

    @router.get("/{index}")
    async def without_slash(index: str, request: Request) -> Response:
        async def there() -> Response:
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"/{part(served[index].name)}/{query}", 308)

        return await page(there)

    return router


async def _indexes(served: Served, workers: Workers) -> Response:
    found = await workers.run(served.overview)
    return as_page("indexes.html", indexes=found, twin="/indexes.json")
