"""The routes of the pages about an index: what it is, near-duplicates, outliers."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from hashret.files import read_regular
from hashret.index.index import Index
from hashret.progress import ProgressCallback
from hashret.web.asking import Wanted, checked
from hashret.web.background_studies import Studies, Study
from hashret.web.json_text import as_json
from hashret.web.page_answers import as_page, as_problem, page
from hashret.web.problems import Problem
from hashret.web.search_page import described
from hashret.web.search_state import SearchState
from hashret.web.search_values import example_condition, picture_address
from hashret.web.served import Served
from hashret.web.served_index import ServedIndex
from hashret.web.showing import part
from hashret.web.study_views import (
    codes_view,
    correlation_picture,
    duplicates_view,
    outliers_view,
)
from hashret.web.working import Workers

PLOTS = ("radius", "bits", "reconstruction", "training", "map", "buckets", "correlation")
_PLOT_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
_MOST_PLOT_BYTES = 8 << 20
MOST_RADIUS = 8
_WAIT_SECONDS = 2.0
_AGAIN_SECONDS = "2"
_STUDY_SECONDS = 60.0


def study_routes(router: APIRouter, served: Served, workers: Workers, studies: Studies) -> None:
    """Add the pages and their twins."""
    _about_routes(router, served, workers, studies)

    @router.get("/{index}/duplicates")
    async def duplicates(index: str, request: Request) -> Response:
        async def shown() -> Response:
            one = served[index]
            asked, values = dict(request.query_params), await _common(one, workers, "duplicates")
            values |= {"radius": 0, "where": asked.get("where"), "most_radius": MOST_RADIUS}
            try:
                wanted = _wanted(asked)
                values |= {"radius": wanted.radius or 0, "more": _one_bit_more(wanted)}
                found = await _duplicates(one, workers, studies, wanted)
            except Exception as error:
                problem = as_problem(error)
                return as_page("duplicates.html", problem.status, problem=problem, **values)
            values["twin"] += f"?{request.url.query}" if request.url.query else ""
            return await workers.run(
                lambda: _studied("duplicates.html", found, "Comparing all items", values)
            )

        return await page(shown)

    @router.get("/{index}/duplicates.json")
    async def duplicates_twin(index: str, request: Request) -> Response:
        wanted = _wanted(dict(request.query_params))
        return _twin(await _duplicates(served[index], workers, studies, wanted))

    @router.get("/{index}/outliers")
    async def outliers(index: str) -> Response:
        async def shown() -> Response:
            one = served[index]
            values = await _common(one, workers, "outliers")
            try:
                found = await _outliers(one, workers, studies)
            except Exception as error:
                problem = as_problem(error)
                return as_page("outliers.html", problem.status, problem=problem, **values)
            return await workers.run(
                lambda: _studied("outliers.html", found, "Measuring what the bits lose", values)
            )

        return await page(shown)

    @router.get("/{index}/outliers.json")
    async def outliers_twin(index: str) -> Response:
        return _twin(await _outliers(served[index], workers, studies))


def _about_routes(router: APIRouter, served: Served, workers: Workers, studies: Studies) -> None:
    @router.get("/{index}/about")
    async def about(index: str) -> Response:
        async def shown() -> Response:
            one = served[index]
            found = await _about(one, workers, studies, served.settings.writable)
            return await workers.run(lambda: _about_page(one, found))

        return await page(shown)

    @router.get("/{index}/about.json")
    async def about_twin(index: str) -> Response:
        one = served[index]
        found = await _about(one, workers, studies, served.settings.writable)
        return _twin(found if isinstance(found, Study) else {**found, "plots": _plots(one)})

    @router.get("/{index}/plots/{file}")
    async def plot(index: str, file: str) -> Response:
        one = served[index]
        content = await workers.run(lambda: _plot(one, file))
        headers = {"cache-control": "no-cache"}
        return Response(content, 200, headers, _PLOT_TYPES[Path(file).suffix])


def _about_page(one: ServedIndex, found: dict[str, Any] | Study) -> Response:
    values: dict[str, Any] = {
        "name": one.name,
        "here": "about",
        "twin": f"/{part(one.name)}/about.json",
    }
    if not isinstance(found, Study):
        codes = found["codes"]
        values |= {
            "correlation": correlation_picture(codes["correlation"]),
            "most_in_bucket": max((line["items"] for line in codes["buckets"]), default=1),
            "lines": _lines(found["facts"]),
            "plots": _plots(one),
            **found,
        }
    return _studied("about.html", found, "Counting bits", values)


async def _about(
    one: ServedIndex, workers: Workers, studies: Studies, writable: bool
) -> dict[str, Any] | Study:
    def work(_: ProgressCallback) -> dict[str, Any]:
        return {"facts": one.described(writable), "codes": one.ask(codes_view)}

    commit = await workers.run(lambda: one.ask(_commit))
    return await studies.found(("about", one.name, commit), work, 2 * _WAIT_SECONDS)


def _plots(one: ServedIndex) -> list[dict[str, str]]:
    """The plots that somebody drew into the folder of the index, by kind."""
    found = []
    for kind in PLOTS:
        for suffix in _PLOT_TYPES:
            try:
                there = stat.S_ISREG((one.path / "plots" / f"{kind}{suffix}").lstat().st_mode)
            except OSError:
                continue
            if there:
                found.append({"kind": kind, "file": f"{kind}{suffix}"})
                break
    return found


def _plot(one: ServedIndex, file: str) -> bytes:
    if all(file != plot["file"] for plot in _plots(one)):
        raise Problem(404, "There is no such plot.", "The page of the index shows those there are.")
    return read_regular(one.path / "plots" / file, _MOST_PLOT_BYTES)


def _lines(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """What is not shown otherwise, in words."""
    names = {
        "kind": "holds",
        "features": "features",
        "fields": "fields",
        "field_indexes": "fields with an index",
        "keeps_vectors": "keeps vectors",
        "mean_sharing": "others in an item's bucket, mean",
        "lowest_bit_entropy": "entropy of the least balanced bit",
        "encoder": "encoder",
        "created": "created",
        "hashret": "by hashret",
        "segments": "search tables",
        "rows_not_in_a_segment": "items not in a table yet",
    }
    return [
        (label, _in_words(facts[name])) for name, label in names.items() if facts.get(name) != []
        and name in facts
    ]  # fmt: skip


def _in_words(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value


async def _common(one: ServedIndex, workers: Workers, here: str) -> dict[str, Any]:
    """What the templates of a study are given, whatever came of it."""

    def known(index: Index) -> tuple[dict[str, Any], str]:
        about = described(index, one.name)
        return about, example_condition(about, [item.fields for item in index.items(1)])

    about, example = await workers.run(lambda: one.ask(known))
    return {
        "name": one.name,
        "here": here,
        "about": about,
        "relative": SearchState({}, {}, []),
        "picture": picture_address(one.name),
        "twin": f"/{part(one.name)}/{here}.json",
        "where_example": example,
    }


def _wanted(asked: dict[str, str]) -> Wanted:
    """Radius and condition of the page of duplicates.

    Raises:
        Problem: they are impossible (422).
    """
    given = {name: asked[name].strip() for name in ("radius", "where") if asked.get(name, "")}
    wanted = checked(Wanted, {name: text for name, text in given.items() if text})
    if (wanted.radius or 0) > MOST_RADIUS:
        raise Problem(
            422,
            f"Pages compare items within at most {MOST_RADIUS} bits.",
            "Choose a smaller radius, or use `hashret duplicates`.",
        )
    return wanted


def _one_bit_more(wanted: Wanted) -> str | None:
    """The address of the duplicates within one bit more; None where pages show no more."""
    radius = (wanted.radius or 0) + 1
    if radius > MOST_RADIUS:
        return None
    where = {} if wanted.where is None else {"where": wanted.where}
    return f"?{urlencode({'radius': radius, **where}, errors='replace')}"


async def _duplicates(
    one: ServedIndex, workers: Workers, studies: Studies, wanted: Wanted
) -> dict[str, Any] | Study:  # fmt: skip
    radius = wanted.radius or 0

    def work(_: ProgressCallback) -> dict[str, Any]:
        return one.ask(lambda index: duplicates_view(index, radius, wanted.where, _STUDY_SECONDS))

    commit = await workers.run(lambda: one.ask(_commit))
    name = ("duplicates", one.name, commit, radius, wanted.where)
    return await studies.found(name, work, _WAIT_SECONDS)


async def _outliers(
    one: ServedIndex, workers: Workers, studies: Studies
) -> dict[str, Any] | Study:  # fmt: skip
    def work(progress: ProgressCallback) -> dict[str, Any]:
        return one.ask(lambda index: outliers_view(index, progress))

    commit = await workers.run(lambda: one.ask(_commit))
    return await studies.found(("outliers", one.name, commit), work, _WAIT_SECONDS)


def _commit(index: Index) -> str:
    return index.commit


def _studied(
    template: str, found: dict[str, Any] | Study, doing: str, values: dict[str, Any]
) -> Response:
    if not isinstance(found, Study):
        return as_page(template, found=found, **values)
    progress = found.progress
    return as_page(
        "running.html",
        doing=doing,
        done=progress.done if progress else 0,
        total=progress.total if progress else None,
        again=_AGAIN_SECONDS,
        **values,
    )


def _twin(found: dict[str, Any] | Study) -> Response:
    if not isinstance(found, Study):
        return as_json(found)
    progress = found.progress
    told = {"done": progress.done, "total": progress.total} if progress else {}
    return as_json({"running": told}, 202, {"retry-after": _AGAIN_SECONDS})
