"""The routes of items: reading, showing and changing them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response

from hashret.index.index import Index
from hashret.web import schemas
from hashret.web.answers import item_view
from hashret.web.asking import MOST_KEY_CHARACTERS, checked
from hashret.web.changing import AddRequest, add
from hashret.web.forms import JSON, check_type
from hashret.web.json_text import as_json, to_json
from hashret.web.schemas import IndexName
from hashret.web.served import Served
from hashret.web.thumbnails import MOST_SIDE, Thumbnails
from hashret.web.working import Workers


class _KeyConvertor(Convertor[str]):
    """The rest of an address, whatever it holds: slashes, line breaks, any Unicode."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("key", _KeyConvertor())

Key = Annotated[
    str,
    Path(description="The key of an item, percent-encoded.", max_length=MOST_KEY_CHARACTERS),
]
KeyParameter = Annotated[str, Query(max_length=MOST_KEY_CHARACTERS)]
Side = Annotated[int, Query(ge=8, le=MOST_SIDE, description="In pixels, at most.")]


def item_routes(served: Served, workers: Workers) -> APIRouter:
    """The routes of items under ``/api``; those that change them where the server is writable."""
    router = APIRouter()
    _items(router, served, workers)
    _pictures(router, served, workers, Thumbnails())
    if served.settings.writable:
        _changes(router, served, workers)
    return router


def _items(router: APIRouter, served: Served, workers: Workers) -> None:
    @router.get(
        "/api/{index}/items",
        tags=["items"],
        responses=schemas.answers(schemas.Items, 404, 422, 500),
    )
    async def items(
        index: IndexName,
        key: Annotated[
            list[KeyParameter] | None,
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


def _pictures(
    router: APIRouter, served: Served, workers: Workers, thumbnails: Thumbnails
) -> None:  # fmt: skip
    responses: dict[int | str, dict[str, Any]] = {
        **schemas.answers(None, 404, 422, 500),
        200: {"content": {"image/png": {}, "image/jpeg": {}}, "description": "The picture."},
    }

    async def sent(index: str, key: str, side: int) -> Response:
        one = served[index]
        content = await workers.run(
            lambda: one.ask(lambda opened: thumbnails.of(opened, one.name, key, side))
        )
        kind = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=60"})

    @router.get(
        "/api/{index}/thumbnail", tags=["items"], responses=responses, response_class=Response
    )
    async def thumbnail_of(index: IndexName, key: KeyParameter, side: Side = 128) -> Response:
        """A small picture of an item of an index of images, whatever its key is."""
        return await sent(index, key, side)

    @router.get(
        "/api/{index}/thumbnail/{key:key}",
        tags=["items"],
        responses=responses,
        response_class=Response,
    )
    async def thumbnail(index: IndexName, key: Key, side: Side = 128) -> Response:
        """A small picture of an item of an index of images."""
        return await sent(index, key, side)


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
        check_type(request, JSON)
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
            list[KeyParameter],
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
