"""Pages to look at; every page has a JSON twin."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from hashret.web.served import Served
from hashret.web.working import Workers


def pages(served: Served, workers: Workers) -> APIRouter:
    """The routes of the pages; they are no part of the API and of its description."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def first_page() -> HTMLResponse:
        """The indexes, or the only one."""
        lines = await workers.run(served.overview)
        names = ", ".join(escape(line["name"]) for line in lines)
        return HTMLResponse(f"<!doctype html><title>hashret</title><p>{names}")

    return router
