"""The routes of indexes and queries in the API."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from hashret.index.index import Index
from hashret.web import schemas
from hashret.web.answers import answer_view
from hashret.web.asking import QueryManyRequest, QueryRequest, ask, ask_many, checked
from hashret.web.forms import JSON, asked_in, check_type
from hashret.web.json_text import as_json, to_json
from hashret.web.reconstructions import reconstruction
from hashret.web.schemas import IndexName
from hashret.web.served import Served
from hashret.web.server_metrics import Metrics
from hashret.web.working import Workers


def api(served: Served, workers: Workers, metrics: Metrics) -> APIRouter:
    """The routes of indexes and queries under ``/api``, ``/healthz`` and ``/metrics``."""
    router = APIRouter()
    _describe(router, served, workers)
    _query(router, served, workers, metrics)

    @router.get(
        "/healthz",
        tags=["server"],
        responses=schemas.answers(schemas.Health),
        openapi_extra={"security": []},
    )
    async def healthz() -> Response:
        """Whether the server answers."""
        return as_json({"status": "ok"})

    @router.get(
        "/metrics",
        tags=["server"],
        responses={
            **schemas.answers(None),
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        },
        response_class=Response,
    )
    async def numbers() -> Response:
        """Counts for Prometheus."""
        text, content_type = await workers.run(metrics.text)
        return Response(text, headers={"content-type": content_type})

    return router


def _describe(router: APIRouter, served: Served, workers: Workers) -> None:
    @router.get("/api/indexes", tags=["indexes"], responses=schemas.answers(schemas.Indexes))
    async def indexes() -> Response:
        """The indexes that are served; one that cannot be read is named with its error."""
        return as_json({"indexes": await workers.run(served.overview)})

    @router.get(
        "/api/{index}",
        tags=["indexes"],
        responses=schemas.answers(schemas.IndexFacts, 404, 422, 500),
    )
    async def about(index: IndexName) -> Response:
        """What an index is and holds."""
        one = served[index]
        return as_json(await workers.run(lambda: one.described(served.settings.writable)))


def _query(router: APIRouter, served: Served, workers: Workers, metrics: Metrics) -> None:
    @router.post(
        "/api/{index}/query",
        tags=["queries"],
        responses=schemas.answers(schemas.Answer, 400, 404, 408, 413, 415, 422, 500),
        openapi_extra=schemas.body(QueryRequest, form=schemas.QueryForm),
    )
    async def query(index: IndexName, request: Request) -> Response:
        """The items nearest to a text, an image, a vector, an item or a code."""
        one = served[index]
        asked = await asked_in(request, workers, served.settings.limits)

        def answer(index: Index) -> bytes:
            result = ask(index, asked, asked)
            shown = reconstruction(index, result) if asked.reconstruct else None
            metrics.answered(one.name, result.stats.seconds)
            return to_json(answer_view(result, shown))

        content = one.ask_at_once(answer) if asked.is_quick() else None
        if content is None:
            content = await workers.run(lambda: one.ask(answer))
        return Response(content, media_type=JSON)

    @router.post(
        "/api/{index}/query_many",
        tags=["queries"],
        responses=schemas.answers(schemas.Answers, 400, 404, 408, 413, 415, 422, 500),
        openapi_extra=schemas.body(QueryManyRequest),
    )
    async def query_many(index: IndexName, request: Request) -> Response:
        """An answer to each of several queries."""
        one = served[index]
        check_type(request, JSON)
        body = await request.body()

        def answer(index: Index) -> bytes:
            results = ask_many(index, asked.queries, asked)
            metrics.answered(one.name, *(result.stats.seconds for result in results))
            return to_json(
                {
                    "answers": [
                        answer_view(
                            result, reconstruction(index, result) if asked.reconstruct else None
                        )
                        for result in results
                    ]
                }
            )

        asked = await workers.run(lambda: checked(QueryManyRequest, body))
        return Response(await workers.run(lambda: one.ask(answer)), media_type=JSON)
