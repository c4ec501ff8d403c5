"""What the templates of the search page are given, made of its JSON values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hashret.codes import from_hex, unpack
from hashret.web.answers import AnswerView
from hashret.web.search_page import START_ITEMS
from hashret.web.search_state import DEFAULT_LIMIT, SearchState, condition_of
from hashret.web.showing import part, shown

_USUAL_SLIDER_BITS = 24
_HEATS = 4


def page_values(view: dict[str, Any], state: SearchState) -> dict[str, Any]:
    """What the templates of the search page are given."""
    about = view["index"]
    name = about["name"]
    items = view.get("start") or [
        hit for ring in view.get("answer", {}).get("rings", []) for hit in ring["hits"]
    ]
    picture = picture_address(name) if about["has_pictures"] else _no_picture
    values: dict[str, Any] = {
        "name": name,
        "here": "search",
        "title": name,
        "about": about,
        "state": state,
        "picture": picture,
        "default_limit": DEFAULT_LIMIT,
        "where_example": example_condition(about, [item["fields"] for item in items[:1]]),
        "twin": f"/{part(name)}/query.json{state.address()[2:]}",
    }
    if "answer" not in view:
        return {
            **values,
            "start": view.get("start", []),
            "texts": view.get("texts", {}),
            "most_start": START_ITEMS,
            "slider_end": _USUAL_SLIDER_BITS + 1,
        }
    key = state.query.get("key")
    asked = next(iter(state.query.values()), "")
    return {
        **values,
        **answer_values(view),
        "title": f"{shown(asked, 60)} - {name}",
        "asked_picture": picture(key) if key and about["has_pictures"] else None,
        "asked_key": key,
    }


def answer_values(view: dict[str, Any]) -> dict[str, Any]:
    """What the templates of an answer are given."""
    answer = view["answer"]
    return {
        "answer": answer,
        "bits": bits_of(view),
        "curve": curve_of(answer["reconstruction"]),
        "flips": view["flips"],
        "query_code": view["query_code"],
        "query_text": view["query_text"],
        "texts": view["texts"],
        "slider_end": _slider_end(answer),
        "ranked": sorted(
            (hit for ring in answer["rings"] for hit in ring["hits"]), key=lambda hit: hit["rank"]
        ),
        "most_in_ring": max((ring["count"] for ring in answer["rings"]), default=1),
    }


def _slider_end(answer: AnswerView) -> int:
    """One more than the largest radius that can be chosen: it stands for any.

    What is shown, and what was asked for, can be chosen.
    """
    last = max((ring["distance"] for ring in answer["rings"]), default=0)
    return min(answer["n_bits"], max(_USUAL_SLIDER_BITS, last, answer["radius"] or 0)) + 1


def _no_picture(_: str) -> None:
    return None


def example_condition(about: dict[str, Any], fields: list[dict[str, Any]]) -> str:
    """A condition that means something for an index, some of whose items have these fields."""
    for name, value in (field for some in fields for field in some.items()):
        found = None if value is None else condition_of(name, value)
        if found is not None and len(found) <= 40:
            return found.replace('"', "") if name.isidentifier() else found
    return f"{about['fields'][0]} = …" if about["fields"] else "key like '%1%'"


def bits_of(view: dict[str, Any]) -> list[dict[str, Any]]:
    """The bits of the query's code as they are searched for.

    ``differing`` is how many hits differ in a bit: flipping it brings those nearer. ``heat`` is the
    same in four steps, for the eye.
    """
    shown: AnswerView = view["answer"]
    differing = [0] * shown["n_bits"]
    for ring in shown["rings"]:
        for hit in ring["hits"]:
            for number in hit["flipped"]:
                differing[number] += 1
    most = max(differing) or 1
    flipped = set(view["flips"])
    return [
        {
            "number": number,
            "one": bool(bit),
            "flipped": number in flipped,
            "differing": differing[number],
            "heat": -(-_HEATS * differing[number] // most),
        }
        for number, bit in enumerate(unpack(from_hex(shown["code"])).tolist())
    ]


def picture_address(name: str, side: int = 128) -> Callable[[str], str]:
    """A function from a key to the address of its picture.

    The key is no part of the path, from which browsers take dots out.
    """
    return lambda key: f"/api/{part(name)}/thumbnail?key={part(key)}&side={side}"


def curve_of(kept: dict[str, Any] | None) -> str:
    """The first values of a vector as a line in a box of height 2."""
    if kept is None or kept["kind"] != "vector":
        return ""
    values = kept["values"][:64]
    most = max(map(abs, values), default=0) or 1
    points = (f"{place + 0.5} {1 - 0.95 * value / most:.3f}" for place, value in enumerate(values))
    return "M" + "L".join(points)
