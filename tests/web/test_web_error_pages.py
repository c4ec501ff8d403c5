"""Errors as who asks can read them: a page in a browser, JSON in a program."""

import asyncio

import pytest
from browsing import chromium
from served import TOKEN, copied, serving
from test_web_pages import links_of

from hashret.web.app import create_app
from hashret.web.settings import Limits, Settings

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PROGRAMS = [{}, {"Accept": "*/*"}, {"Accept": "application/json"}]


@pytest.fixture(scope="module")
def folder(_trained, tmp_path_factory):
    return copied(_trained, tmp_path_factory.mktemp("errors"), "digits")[0]


@pytest.fixture(scope="module")
def server(folder):
    with serving("-i", folder) as server:
        yield server


@pytest.fixture(scope="module")
def closed(folder):
    with serving("-i", folder, token=TOKEN) as server:
        yield server


def is_a_page(answer) -> bool:
    return (
        answer.headers["content-type"] == "text/html; charset=utf-8"
        and answer.headers["cache-control"] == "no-store"
        and 'class="problem"' in answer.text
        and "default-src 'none'" in answer.headers["content-security-policy"]
    )


def is_json(answer) -> bool:
    return set(answer.json()["error"]) == {"message", "remedy", "kind"}


ERRORS = {
    "an unknown place of an index": ("/digits/nope", {}, 404),
    "a place below a page": ("/digits/about/nope", {}, 404),
    "an unknown plot": ("/digits/plots/nope.svg", {}, 404),
    "another host": ("/digits/", {"Host": "evil.example"}, 421),
    "a long head": ("/digits/", {"X": "x" * 150_000}, 431),
    "another site": ("/digits/about", {"Sec-Fetch-Site": "cross-site"}, 403),
}


@pytest.mark.parametrize("name", [name for name in ERRORS if name != "a long head"])
def test_a_browser_gets_a_page_and_a_program_gets_json(server, name):
    place, headers, status = ERRORS[name]
    shown = server.get(place, headers={**headers, **BROWSER})
    assert shown.status_code == status
    assert is_a_page(shown)
    for program in PROGRAMS:
        told = server.get(place, headers={**headers, **program})
        assert told.status_code == status
        assert is_json(told)


@pytest.mark.parametrize("place", ["/api/nope", "/api/digits/nope/nope", "/api/digits/items/nope",
                                   "/digits/query.json?key=nope"])  # fmt: skip
def test_what_is_for_programs_stays_json_in_a_browser(server, place):
    answer = server.get(place, headers=BROWSER)
    assert answer.status_code == 404
    assert is_json(answer)


def test_a_missing_token_is_a_page_that_still_asks_for_it(closed):
    shown = closed.get("/digits/", headers=BROWSER)
    assert shown.status_code == 401
    assert is_a_page(shown)
    assert shown.headers["www-authenticate"].startswith("Basic ")
    told = closed.get("/digits/")
    assert is_json(told)
    assert told.headers["www-authenticate"] == shown.headers["www-authenticate"]
    assert is_json(closed.get("/api/digits", headers=BROWSER))


@pytest.mark.parametrize("name", ["another host", "no token"])
def test_an_error_page_has_its_colours_though_all_else_is_refused(server, closed, name):
    refusing, headers = (closed, {}) if name == "no token" else (server, ERRORS[name][1])
    page = refusing.get("/digits/", headers={**headers, **BROWSER}).text
    files = [link for link in links_of(page) if link.startswith("/static/")]
    assert len(files) == 3
    for file in files:
        assert refusing.get(file, headers=headers).status_code == 200
    for other in ("/static/nope.css", "/static/../digits/", "/static/hashret.css/"):
        assert refusing.get(other, headers=headers).status_code in (401, 421)


def asked_of(app, place: str, accept: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """What an application answers, without a server."""

    async def ask():
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "GET", "path": place, "raw_path": place.encode(),
            "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
            "headers": [(b"host", b"localhost"), (b"accept", accept.encode())],
        }  # fmt: skip
        await app(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    return asyncio.run(ask())


@pytest.mark.parametrize("limits", [Limits(threads=1, waiting=-1), Limits(request_seconds=0.0)])
def test_a_busy_server_is_a_page(folder, limits):
    app = create_app(Settings({"digits": folder}, limits=limits))
    status, headers, body = asked_of(app, "/digits/", BROWSER["Accept"])
    assert status == 503
    assert headers[b"content-type"].startswith(b"text/html")
    assert headers[b"retry-after"]
    assert b'class="problem"' in body
    status, headers, _ = asked_of(app, "/api/digits", "*/*")
    assert (status, headers[b"content-type"]) == (503, b"application/json")


def test_a_browser_shows_what_is_wrong_and_a_way_on(server):
    with chromium() as browser:
        page = browser.new_page()
        assert page.goto(f"{server.address}/digits/nope").status == 404
        assert "/digits/nope" in page.inner_text(".problem h2")
        assert page.locator("main a", has_text="digits").get_attribute("href") == "/digits/"
        shade = page.locator(".problem").evaluate("e => getComputedStyle(e).borderLeftWidth")
        assert shade == "4px"
