"""From what a request holds to an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from hashret.index.index import Index
from hashret.index.result import Result
from hashret.web.problems import REQUEST_ERROR, Problem
from hashret.web.request_values import Pixels, value_of
from hashret.web.settings import Limits

LIMITS = Limits()
MOST_KEY_CHARACTERS = 10_000
MOST_VALUES = 1 << 20
MOST_QUICK_HITS = 50
VALUES = ("text", "image", "vector", "key", "code")
"""The forms of what is looked for."""

CODE = r"^([0-9a-f]{16}:)?([0-9a-fA-F]{2}){1,128}$"

# There is one way to read a number: where there are two, a text of n takes 2 to the n-th steps.
_NUMBER = r"[+-]?([0-9]{1,60}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?"
NUMBERS = rf"^{_NUMBER}([ ,]+{_NUMBER})*$"


def _whole(number: Any) -> Any:
    """JSON knows one kind of numbers: 3.0 is 3."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


_WHOLE = BeforeValidator(_whole)

_Asked = TypeVar("_Asked", bound=BaseModel)


def one_of(*names: str) -> Callable[[dict[str, Any]], None]:
    """Makes the schema of a model say that exactly one of these is given, and is not null."""

    def change(schema: dict[str, Any]) -> None:
        properties = schema.pop("properties")
        required = schema.pop("required", [])
        common = {name: one for name, one in properties.items() if name not in names}
        schema["anyOf"] = [
            {
                "type": "object",
                "additionalProperties": False,
                "required": [name, *required],
                "properties": {name: _not_null(properties[name]), **common},
            }
            for name in names
        ]
        for name in ("type", "additionalProperties"):
            schema.pop(name, None)

    return change


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**kept, **next(iter(schema.get("anyOf", [{}])))}


def check_one_given(given: Any, *names: str) -> None:
    """Refuse none of these names, and several.

    Raises:
        ValueError: which of them are given.
    """
    found = [name for name in names if name in given]
    if len(found) != 1:
        raise ValueError(f"give one of {', '.join(names)}; got {', '.join(found) or 'none'}")
    if given[found[0]] is None:
        raise ValueError(f"{found[0]} is null")


class Query(BaseModel):
    """What to look for; exactly one of these.

    Attributes:
        text: words, of an index of texts.
        image: an image file in base64, of an index of images.
        vector: numbers, of an index of vectors; of one of images, all pixels from 0 to 1, by rows.
        key: the key of an item of the index.
        code: a code in hexadecimal, which may name its encoder: ``fingerprint:code``.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=one_of(*VALUES))

    text: Annotated[str, Field(max_length=LIMITS.text_characters)] | None = None
    image: (
        Annotated[
            str,
            Field(
                max_length=LIMITS.body_bytes,
                json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/*"},
            ),
        ]
        | None
    ) = None
    vector: Annotated[list[FiniteFloat], Field(min_length=1, max_length=MOST_VALUES)] | None = None
    key: Annotated[str, Field(max_length=MOST_KEY_CHARACTERS)] | None = None
    code: Annotated[str, Field(pattern=CODE)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_of_them(cls, given: Any) -> Any:
        if isinstance(given, dict):
            check_one_given(given, *VALUES)
        return given


class Wanted(BaseModel):
    """Which items are an answer.

    Attributes:
        radius: in how many bits a hit may differ; null lets rings grow until ``limit`` hits are in.
        limit: the most hits.
        where: an SQL condition on ``key`` and the fields.
        order: of hits at one distance: as they were added (an index, if null), by key (a cluster,
            if null), or the least certain bits first.
        rerank: order the nearest by the exact distance of the features.
        shortlist: how many of the nearest are re-ranked.
        reconstruct: show what the decoder makes of the query's bits.
    """

    model_config = ConfigDict(extra="forbid")

    radius: Annotated[int, Field(ge=0, le=1024), _WHOLE] | None = None
    limit: Annotated[int, Field(ge=1, le=LIMITS.hits), _WHOLE] = 10
    where: Annotated[str, Field(max_length=LIMITS.text_characters)] | None = None
    order: Literal["row", "key", "certainty"] | None = None
    rerank: bool = False
    shortlist: Annotated[int, Field(ge=1, le=LIMITS.batch_hits), _WHOLE] | None = None
    reconstruct: bool = False

    def options(self) -> dict[str, Any]:
        """Arguments of :meth:`hashret.Index.query`."""
        return {
            "radius": self.radius,
            "limit": self.limit,
            "where": self.where,
            **({} if self.order is None else {"order": self.order}),
            "rerank": self.rerank,
            "shortlist": self.shortlist,
        }


class QueryRequest(Query, Wanted):
    """One query; see :class:`Query` and :class:`Wanted`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=one_of(*VALUES))

    def is_quick(self) -> bool:
        """Whether an answer takes little but a search: no encoding, no condition, no refinement."""
        return (
            (self.key is not None or self.code is not None)
            and self.where is None
            and self.limit <= MOST_QUICK_HITS
            and not (self.rerank or self.reconstruct)
        )


class QueryManyRequest(Wanted):
    """Several queries that are answered alike."""

    queries: Annotated[list[Query], Field(min_length=1, max_length=LIMITS.batch)]

    @model_validator(mode="after")
    def _not_too_many_hits(self) -> Self:
        if len(self.queries) * self.limit > LIMITS.batch_hits:
            raise ValueError(
                f"{len(self.queries)} queries of {self.limit} hits are more than "
                f"{LIMITS.batch_hits:,} hits"
            )
        return self


def checked(model: type[_Asked], body: bytes | dict[str, Any]) -> _Asked:
    """Read a request: the bytes of JSON, or values by name whose numbers may be texts.

    Raises:
        Problem: it is not what was expected (400 for broken JSON, else 422).
    """
    try:
        if isinstance(body, bytes):
            return model.model_validate_json(body, strict=True)
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the request"
        broken = first["type"] == "json_invalid"
        raise Problem(
            400 if broken else 422,
            f"{place}: {first['msg'].removeprefix('Value error, ')}",
            "Send valid JSON." if broken else "The limits are told by /openapi.json.",
            kind=REQUEST_ERROR,
        ) from error


def ask(index: Index, query: Query, wanted: Wanted) -> Result:
    """Answer one query.

    Raises:
        HashretError: as :meth:`hashret.Index.query` does.
    """
    if query.key is not None:
        return index.query_key(query.key, **wanted.options())
    if query.code is not None:
        return index.query_code(query.code, **wanted.options())
    return index.query_many([value_of(index, query)], **wanted.options())[0]


def ask_many(index: Index, queries: Sequence[Query], wanted: Wanted) -> list[Result]:
    """Answer several queries; values are encoded and searched together."""
    pixels = Pixels()
    values = [
        value_of(index, query, pixels) if query.key is None and query.code is None else None
        for query in queries
    ]
    if all(value is not None for value in values):
        return index.query_many(values, **wanted.options())
    return [
        ask(index, query, wanted)
        if value is None
        else index.query_many([value], **wanted.options())[0]
        for query, value in zip(queries, values, strict=True)
    ]
