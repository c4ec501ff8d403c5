"""What the answers look like, for the description of the API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from hashret.web.answers import AnswerView, ItemView
from hashret.web.asking import CODE, LIMITS, MOST_KEY_CHARACTERS, NUMBERS, VALUES, one_of
from hashret.web.describing import explain

IndexName = Annotated[str, Path(description="The name of an index.")]

BEARER: list[dict[str, list[str]]] = [{"token": []}]

_MEANINGS = {
    400: "The body cannot be read.",
    401: "The token is missing or another one.",
    403: "A page of another site asks, or the server is not writable.",
    404: "There is no such index or item.",
    408: "The body took too long to arrive.",
    413: "The body is too long.",
    415: "The body is of another type.",
    421: "The Host header is no name of this server.",
    431: "The headers or the address are too long.",
    422: "The request asks for something impossible.",
    500: "The index is damaged or gone.",
    503: "The server is busy, or the index is being changed.",
}

_ALWAYS = (403, 421, 431, 503)
"""What any request may be answered with."""

Answer = AnswerView
Item = ItemView


class ErrorText(BaseModel):
    """What was wrong, what to do, and a name for it."""

    message: str
    remedy: str
    kind: str


class Error(BaseModel):
    """Every error."""

    error: ErrorText


class Health(BaseModel):
    """The server answers."""

    status: str


class IndexLine(BaseModel):
    """An index in the list of all."""

    name: str
    items: int | None = None
    n_bits: int | None = None
    kind: str | None = None
    error: str | None = None


class Indexes(BaseModel):
    """The indexes that are served."""

    indexes: list[IndexLine]


class IndexFacts(BaseModel):
    """What an index is and holds; see :meth:`hashret.Index.info`."""

    model_config = {"extra": "allow"}

    name: str
    writable: bool
    items: int
    n_bits: int
    kind: str
    fields: list[str]
    features: str | None = None
    field_indexes: list[str] = []
    keeps_vectors: bool = False
    encoder: str | None = None
    created: str | None = None
    hashret: str | None = None
    distinct_codes: int | None = None
    code_sample: int | None = None
    mean_sharing: float | None = None
    largest_bucket: int | None = None
    bit_entropy: float | None = None
    lowest_bit_entropy: float | None = None
    bit_correlation: float | None = None
    largest_bit_correlation: float | None = None
    segments: int | None = None
    rows_not_in_a_segment: int | None = None
    bytes: int | None = None


class Answers(BaseModel):
    """One answer for each query."""

    answers: list[AnswerView]


class Items(BaseModel):
    """Items."""

    items: list[ItemView]


class SkippedItem(BaseModel):
    """An item that could not be used."""

    name: str
    reason: str


class Added(BaseModel):
    """What adding did; see :class:`hashret.AddReport`."""

    added: int
    updated: int
    unchanged: int
    skipped: list[SkippedItem]


class Removed(BaseModel):
    """How many items were removed."""

    removed: int


class QueryForm(BaseModel):
    """A query as a form: numbers in words, and an image as a file."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=one_of(*VALUES))

    text: Annotated[str, Field(min_length=1, max_length=LIMITS.text_characters)] = ""
    image: Annotated[bytes, Field(json_schema_extra={"format": "binary"})] = b""
    vector: Annotated[
        str, Field(pattern=NUMBERS, description="Numbers, with spaces or commas between them.")
    ] = ""
    key: Annotated[str, Field(min_length=1, max_length=MOST_KEY_CHARACTERS)] = ""
    code: Annotated[str, Field(pattern=CODE)] = ""
    radius: Annotated[int, Field(ge=0, le=1024)] = 0
    limit: Annotated[int, Field(ge=1, le=LIMITS.hits)] = 10
    where: Annotated[str, Field(min_length=1, max_length=LIMITS.text_characters)] = ""
    order: Literal["row", "key", "certainty"] = "row"
    rerank: bool = False
    shortlist: Annotated[int, Field(ge=1, le=LIMITS.batch_hits)] = 100
    reconstruct: bool = False


def answers(model: Any, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route: its model, and errors of one shape."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": Error, "description": _MEANINGS[status]}
        for status in (*statuses, *_ALWAYS)
    }
    if model is not None:
        found[200] = {"model": model, "description": "The answer."}
    return found


def with_token(schema: dict[str, Any], *, guards_reads: bool) -> None:
    """Tell in the description of the API what its names mean, and what takes the token."""
    explain(schema)
    schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    if not guards_reads:
        return
    schema["security"] = BEARER
    for path in schema["paths"].values():
        for route in path.values():
            if route.get("security") != []:
                shape = {"$ref": "#/components/schemas/Error"}
                route["responses"]["401"] = {
                    "description": _MEANINGS[401],
                    "content": {"application/json": {"schema": shape}},
                }


def body(model: type[BaseModel], form: type[BaseModel] | None = None) -> dict[str, Any]:
    """The description of a body that the route reads itself."""
    content: dict[str, Any] = {"application/json": {"schema": inlined(model)}}
    if form is not None:
        content["multipart/form-data"] = {"schema": inlined(form)}
    return {"requestBody": {"required": True, "content": content}}


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model, with what it refers to in its place."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return filled(parts[value["$ref"].rpartition("/")[2]])
            return {name: filled(one) for name, one in value.items()}
        return [filled(one) for one in value] if isinstance(value, list) else value

    found: dict[str, Any] = filled(schema)
    if model is QueryForm:
        for form in found["anyOf"]:
            for part in form["properties"].values():
                part.pop("default", None)  # what is left out is not the same as what is empty
    return found
