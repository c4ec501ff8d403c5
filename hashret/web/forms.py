"""What the bodies of requests hold: JSON, and forms with a file."""

from __future__ import annotations

import base64
import re
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from hashret.web.asking import NUMBERS, QueryRequest, checked
from hashret.web.problems import Problem
from hashret.web.request_values import checked_image
from hashret.web.settings import Limits
from hashret.web.working import Workers

JSON = "application/json"
FORM = "multipart/form-data"
MOST_READ_AT_ONCE = 64 << 10
"""Bytes of a query that the event loop reads itself; a longer one would hold up the others."""

_NUMBERS = re.compile(NUMBERS)


async def asked_in(request: Request, workers: Workers, limits: Limits) -> QueryRequest:
    """The query of a request, which comes as JSON or as a form with a file.

    Raises:
        Problem: it cannot be read, or is none.
    """
    if check_type(request, JSON, FORM) == JSON:
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


def check_type(request: Request, *accepted: str) -> str:
    """The type of a body.

    Raises:
        Problem: it is not among those ``accepted`` (415).
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in accepted:
        raise Problem(
            415,
            f"The body is {content_type or 'of no type'!r}.",
            f"Send {' or '.join(accepted)}.",
        )
    return content_type
