"""The routes of the API."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import UploadFile
from starlette.responses import Response

from hashret.index import Index
from hashret.web import schemas
from hashret.web.answers import answer_view, item_view
from hashret.web.asking import (
    MOST_KEY_CHARACTERS,
    NUMBERS,
    QueryManyRequest,
    QueryRequest,
    ask,
    ask_many,
    checked,
)
from hashret.web.changing import AddRequest, add
from hashret.web.json_text import to_json
from hashret.web.metrics import Metrics
from hashret.web.problems import Problem
from hashret.web.reconstructions import reconstruction
from hashret.web.served import Served
from hashret.web.settings import Limits
from hashret.web.thumbnails import MOST_SIDE, Thumbnails
from hashret.web.values import checked_image
from hashret.web.working import Workers

JSON = "application/json"
FORM = "multipart/form-data"
MOST_READ_AT_ONCE = 64 << 10
"""Bytes of a query that the event loop reads itself; a longer one would hold up the others."""


class _KeyConvertor(Convertor[str]):
    """The rest of an address, whatever it holds: slashes, line breaks, any Unicode."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


_NUMBERS = re.compile(NUMBERS)

register_url_convertor("key", _KeyConvertor())

IndexName = Annotated[str, Path(description="The name of an index.")]
Key = Annotated[
    str,
    Path(description="The key of an item, percent-encoded.", max_length=MOST_KEY_CHARACTERS),
]


def api(
    served: Served, workers: Workers, thumbnails: Thumbnails, metrics: Metrics
) -> APIRouter:  # fmt: skip
    """The routes under ``/api``, ``/healthz`` and ``/metrics``."""
    router = APIRouter()
    _describe(router, served, workers)
    _query(router, served, workers, metrics)
    _items(router, served, workers, thumbnails)
    if served.settings.writable:
        _changes(router, served, workers)

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


def as_json(value: Any, status: int = 200) -> Response:
    """An answer of JSON values."""
    return Response(to_json(value), status, media_type=JSON)


def _describe(router: APIRouter, served: Served, workers: Workers) -> None:
    @router.get("/api/indexes", tags=["indexes"], responses=schemas.answers(schemas.Indexes))
    async def indexes() -> Response:
        """The indexes that are served; one that cannot be read is named with its error."""
        return as_json({"indexes": await workers.run(served.overview)})

    @router.get(
        "/api/{index}", tags=["indexes"], responses=schemas.answers(schemas.IndexFacts, 404, 500)
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
        asked = await _asked(request, workers, served.settings.limits)

        def answer(index: Index) -> bytes:
            result = ask(index, asked, asked)
            shown = reconstruction(index, result) if asked.reconstruct else None
            metrics.queries.labels(one.name).inc()
            metrics.search_seconds.labels(one.name).inc(result.stats.seconds)
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
        _check_type(request, JSON)
        body = await request.body()

        def answer(index: Index) -> bytes:
            results = ask_many(index, asked.queries, asked)
            metrics.queries.labels(one.name).inc(len(results))
            metrics.search_seconds.labels(one.name).inc(
                sum(result.stats.seconds for result in results)
            )
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


async def _asked(request: Request, workers: Workers, limits: Limits) -> QueryRequest:
    """The query of a request, which comes as JSON or as a form with a file."""
    if _check_type(request, JSON, FORM) == JSON:
        body = await request.body()
        if len(body) <= MOST_READ_AT_ONCE:
            return checked(QueryRequest, body)
        return await workers.run(lambda: checked(QueryRequest, body))
    values = await form_values(request, limits.body_bytes)
    if sum(map(len, values.values())) <= MOST_READ_AT_ONCE:
        return form_query(values)
    return await workers.run(lambda: form_query(values))


async def form_values(request: Request, most_bytes: int) -> dict[str, Any]:
    """What a form holds, by name: texts, and the bytes of an image.

    Raises:
        Problem: a name comes twice, or something else than an image is a file (422).
    """
    values: dict[str, Any] = {}
    async with request.form(max_files=1, max_fields=20, max_part_size=most_bytes) as form:
        for name, value in form.multi_items():
            if name in values:
                raise Problem(422, f"{name} comes twice.", "Give it once.")
            if isinstance(value, UploadFile):
                if name != "image":
                    raise Problem(422, f"{name} is no file.", "Only image may be one.")
                values[name] = await value.read()
            else:
                values[name] = value
    return values


def form_query(values: dict[str, Any]) -> QueryRequest:
    """The query of a form or of an address, where numbers are texts and an image may be bytes."""
    vector, image = values.get("vector"), values.get("image")
    if isinstance(vector, str) and vector:
        if not _NUMBERS.fullmatch(vector):
            raise Problem(422, "vector: these are no numbers.", "Put spaces or commas between.")
        values = {**values, "vector": vector.replace(",", " ").split()}
    if isinstance(image, bytes):
        checked_image(image)
        values = {**values, "image": base64.b64encode(image).decode()}
    given = {name: value for name, value in values.items() if value != ""}
    return checked(QueryRequest, given)


def _check_type(request: Request, *accepted: str) -> str:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in accepted:
        raise Problem(
            415,
            f"The body is {content_type or 'of no type'!r}.",
            f"Send {' or '.join(accepted)}.",
        )
    return content_type


def _items(router: APIRouter, served: Served, workers: Workers, thumbnails: Thumbnails) -> None:
    @router.get(
        "/api/{index}/items",
        tags=["items"],
        responses=schemas.answers(schemas.Items, 404, 422, 500),
    )
    async def items(
        index: IndexName,
        key: Annotated[
            list[Annotated[str, Query(max_length=MOST_KEY_CHARACTERS)]] | None,
            Query(description="Of these items.", max_length=100),
        ] = None,
        where: Annotated[
            str | None, Query(description="An SQL condition.", max_length=10_000)
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    ) -> Response:
        """Items by their keys, or in the order of being added."""
        one = served[index]

        def listed(index: Index) -> bytes:
            found = [index[one] for one in key] if key else index.items(limit, where)
            return to_json({"items": [item_view(item) for item in found]})

        return Response(await workers.run(lambda: one.ask(listed)), media_type=JSON)

    @router.get(
        "/api/{index}/items/{key:key}",
        tags=["items"],
        responses=schemas.answers(schemas.Item, 404, 422, 500),
    )
    async def item(index: IndexName, key: Key) -> Response:
        """One item."""
        one = served[index]
        return Response(
            await workers.run(lambda: one.ask(lambda index: to_json(item_view(index[key])))),
            media_type=JSON,
        )

    @router.get(
        "/api/{index}/thumbnail/{key:key}",
        tags=["items"],
        responses={
            **schemas.answers(None, 404, 422, 500),
            200: {"content": {"image/png": {}, "image/jpeg": {}}, "description": "The picture."},
        },
        response_class=Response,
    )
    async def thumbnail(
        index: IndexName,
        key: Key,
        side: Annotated[int, Query(ge=8, le=MOST_SIDE, description="In pixels, at most.")] = 128,
    ) -> Response:
        """A small picture of an item of an index of images."""
        one = served[index]
        content = await workers.run(
            lambda: one.ask(lambda index: thumbnails.of(index, one.name, key, side))
        )
        kind = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=60"})


def _changes(router: APIRouter, served: Served, workers: Workers) -> None:
    @router.post(
        "/api/{index}/items",
        tags=["changes"],
        responses=schemas.answers(schemas.Added, 400, 401, 404, 408, 413, 415, 422, 500),
        openapi_extra={**schemas.body(AddRequest), "security": schemas.BEARER},
    )
    async def add_items(index: IndexName, request: Request) -> Response:
        """Add or update items, all or none."""
        one = served[index]
        _check_type(request, JSON)
        body = await request.body()
        asked = await workers.run(lambda: checked(AddRequest, body))
        return as_json(await workers.run(lambda: one.change(lambda index: add(index, asked.items))))

    @router.delete(
        "/api/{index}/items",
        tags=["changes"],
        responses=schemas.answers(schemas.Removed, 401, 404, 422, 500),
        openapi_extra={"security": schemas.BEARER},
    )
    async def remove_items(
        index: IndexName,
        key: Annotated[
            list[Annotated[str, Query(max_length=MOST_KEY_CHARACTERS)]],
            Query(description="Their keys.", min_length=1, max_length=100),
        ],
    ) -> Response:
        """Remove items, all or none."""
        one = served[index]
        removed = await workers.run(lambda: one.change(lambda index: index.remove(key)))
        return as_json({"removed": removed})

    @router.delete(
        "/api/{index}/items/{key:key}",
        tags=["changes"],
        responses=schemas.answers(schemas.Removed, 401, 404, 422, 500),
        openapi_extra={"security": schemas.BEARER},
    )
    async def remove_item(index: IndexName, key: Key) -> Response:
        """Remove one item."""
        one = served[index]
        removed = await workers.run(lambda: one.change(lambda index: index.remove(key)))
        return as_json({"removed": removed})
