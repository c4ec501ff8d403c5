"""The routes of the search page."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from hashret.codes import to_hex
from hashret.index.index import Index
from hashret.web.asking import ask
from hashret.web.forms import form_query, form_values
from hashret.web.json_text import as_json
from hashret.web.page_answers import as_page, as_problem, page
from hashret.web.problems import Problem
from hashret.web.search_page import described, search_view
from hashret.web.search_state import CUTS, SearchState
from hashret.web.search_values import page_values
from hashret.web.served import Served
from hashret.web.served_index import ServedIndex
from hashret.web.server_metrics import Metrics
from hashret.web.showing import part
from hashret.web.working import Workers

_MOST_TEXT_IN_ADDRESS = 2000


def search_routes(
    router: APIRouter, served: Served, workers: Workers, metrics: Metrics
) -> None:  # fmt: skip
    """Add the search page, its twin, and the place that pictures are sent to."""

    @router.get("/{index}/")
    async def search(index: str, request: Request) -> Response:
        return await page(lambda: _search(served[index], workers, metrics, request))

    @router.get("/{index}/query.json")
    async def twin(index: str, request: Request) -> Response:
        one = served[index]
        state = SearchState.of(dict(request.query_params))
        return as_json(await workers.run(lambda: _view(one, metrics, state)))

    @router.get("/{index}/query")
    async def moved(index: str, request: Request) -> Response:
        async def there() -> Response:
            name = part(served[index].name)
            return RedirectResponse(f"/{name}/?{request.url.query}", 303)

        return await page(there)

    @router.post("/{index}/query")
    async def upload(index: str, request: Request) -> Response:
        try:
            return await _encoded(served[index], served, workers, request)
        except Exception as error:
            problem = as_problem(error)
        return await page(
            lambda: _with_problem(served[index], workers, SearchState({}, {}, []), problem)
        )


def _view(one: ServedIndex, metrics: Metrics, state: SearchState) -> dict[str, Any]:
    view = one.ask(lambda opened: search_view(opened, one.name, state))
    if "answer" in view:
        metrics.answered(one.name, view["answer"]["stats"]["seconds"])
    return view


async def _search(
    one: ServedIndex, workers: Workers, metrics: Metrics, request: Request
) -> Response:  # fmt: skip
    given = dict(request.query_params)
    try:
        state = SearchState.of(given)
    except Problem as problem:
        return await _with_problem(one, workers, SearchState({}, {}, []), problem)
    if "toggle" in given or "" in given.values():
        return RedirectResponse(f"/{part(one.name)}/{state.address()[2:]}", 303)
    try:
        view = await workers.run(lambda: _view(one, metrics, state))
    except Exception as error:
        return await _with_problem(one, workers, state, as_problem(error))
    # A thousand hits take a while to write.
    return await workers.run(lambda: as_page("search.html", **page_values(view, state)))


async def _with_problem(
    one: ServedIndex, workers: Workers, state: SearchState, problem: Problem
) -> Response:
    """The search page with what was wrong in the place of an answer."""

    def known(index: Index) -> dict[str, Any]:
        if problem.kind == "KeyNotFoundError":  # those that are there
            return search_view(index, one.name, SearchState({}, {}, []))
        return {"index": described(index, one.name)}

    values = page_values(await workers.run(lambda: one.ask(known)), state)
    headers = dict(problem.headers)
    return as_page("search.html", problem.status, headers, problem=problem, **values)


async def _encoded(
    one: ServedIndex, served: Served, workers: Workers, request: Request
) -> Response:
    """To the search by the code of what was sent: that is all of it that an address can hold."""
    values = await form_values(request, served.settings.limits.body_bytes)
    if "image" in values and not values["image"]:
        raise Problem(422, "No picture was chosen.", "Choose one, and search again.")
    cut = {name: values[name] for name in CUTS if isinstance(values.get(name), str)}
    text = values.get("text")
    if isinstance(text, str) and text and len(text) <= _MOST_TEXT_IN_ADDRESS:
        state = SearchState.of({"text": text, **cut})
        return RedirectResponse(f"/{part(one.name)}/{state.address()[2:]}", 303)

    def code(index: Index) -> str:
        query = {name: value for name, value in values.items() if name not in CUTS}
        asked = form_query(query | {"limit": 1})
        return to_hex(ask(index, asked, asked).code)

    found = await workers.run(lambda: one.ask(code))
    # These order the hits of a value, and the address holds none.
    kept = {name: value for name, value in cut.items() if name not in ("order", "rerank")}
    state = SearchState.of({"code": found, **kept})
    return RedirectResponse(f"/{part(one.name)}/{state.address()[2:]}", 303)
