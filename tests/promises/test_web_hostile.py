"""Hostile requests to a served process: each ends with a clear refusal, and the server lives."""

import asyncio
import base64
import io
import json
import socket
import struct
import time
import zlib
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image
from served import TOKEN, copied, serving
from starlette.requests import Request

import hashret
from hashret.web.changing import AddRequest, add
from hashret.web.forms import asked_in
from hashret.web.problems import Problem
from hashret.web.served_index import ServedIndex
from hashret.web.settings import Limits

JSON = {"content-type": "application/json"}
QUERY = "/api/digits/query"


@pytest.fixture(scope="module")
def server(_trained, tmp_path_factory):
    home = tmp_path_factory.mktemp("hostile")
    digits, vectors = copied(_trained, home, "digits", "vectors")
    with serving("-i", digits, "-i", vectors, "--writable") as server:
        yield server


@pytest.fixture(autouse=True)
def _it_lives(server):
    yield
    assert server.lives()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG of side x side black pixels in few bytes."""
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * 64), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def cut_off() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(256, size=(99, 99), dtype=np.uint8)).save(
        file, "PNG"
    )
    return file.getvalue()[:5000]


def text_bomb() -> bytes:
    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    text = b"a\0\0" + zlib.compress(bytes(200 << 20), 9)
    rows = zlib.compress(bytes(9 * 8))
    parts = chunk(b"IHDR", head) + chunk(b"zTXt", text) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def image_of(content: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(content).decode()}).encode()


def sent(server, method, path, body=b"", headers=JSON):
    with server.client() as client:
        return client.request(method, path, content=body, headers=headers)


def is_a_problem(answer) -> bool:
    error = answer.json()["error"]
    return set(error) == {"message", "remedy", "kind"} and all(error.values())


BODIES = {
    "no JSON": (b"{", 400),
    "nothing": (b"", 400),
    "no UTF-8": (b'{"key":"\xff"}', 400),
    "a list": (b"[]", 422),
    "a number": (b"17", 422),
    "null": (b"null", 422),
    "nothing asked": (b"{}", 422),
    "two things asked": (b'{"key":"1","code":"00"}', 422),
    "an unknown name": (b'{"key":"1","path":"/etc/passwd"}', 422),
    "a number for a key": (b'{"key":17}', 422),
    "a list for a key": (b'{"key":["7"]}', 422),
    "a lone surrogate": (rb'{"key":"\ud800"}', (400, 404)),
    "a null character": (rb'{"key":"\u0000"}', 404),
    "a long key": (json.dumps({"key": "k" * 20_000}).encode(), 422),
    "no such key": (b'{"key":"nix"}', 404),
    "a path for a key": (b'{"key":"../../../etc/passwd"}', 404),
    "deep nesting": (b'{"key":' + b"[" * 100_000, 400),
    "limit 0": (b'{"key":"1","limit":0}', 422),
    "limit -1": (b'{"key":"1","limit":-1}', 422),
    "a huge limit": (b'{"key":"1","limit":100000000}', 422),
    "no limit": (b'{"key":"1","limit":null,"radius":64}', 422),
    "a limit in words": (b'{"key":"1","limit":"all"}', 422),
    "half a limit": (b'{"key":"1","limit":1.5}', 422),
    "a negative radius": (b'{"key":"1","radius":-1}', 422),
    "an infinite radius": (b'{"key":"1","radius":1e999}', 422),
    "a huge radius": (b'{"key":"1","radius":99999}', 422),
    "another order": (b'{"key":"1","order":"key; drop"}', 422),
    "certainty of a key": (b'{"key":"1","order":"certainty"}', 422),
    "reranked without vectors": (b'{"key":"1","rerank":true}', 422),
    "no hexadecimal": (b'{"code":"zz"}', 422),
    "half a byte": (b'{"code":"123"}', 422),
    "a short code": (b'{"code":"00"}', 422),
    "a code of another encoder": (b'{"code":"0123456789abcdef:0000000000000000"}', 422),
    "text for images": (b'{"text":"shoes"}', 422),
    "a short vector": (b'{"vector":[1,2,3]}', 422),
    "no numbers": (b'{"vector":["a"]}', 422),
    "NaN": (b'{"vector":[NaN]}', 422),
    "infinity": (b'{"vector":[1e400]}', 422),
    "pixels beyond 1": (json.dumps({"vector": [2.0] * 64}).encode(), 422),
    "a matrix": (b'{"vector":[[1,2],[3,4]]}', 422),
    "an empty vector": (b'{"vector":[]}', 422),
    "no base64": (b'{"image":"!!!"}', 422),
    "an address for an image": (b'{"image":"http://127.0.0.1:1/x.png"}', 422),
    "a path for an image": (b'{"image":"/etc/passwd"}', 422),
    "an empty image": (b'{"image":""}', 422),
    "no image": (image_of(b"GIF89a but no more"), 422),
    "a script of Pillow's": (image_of(b"%!PS-Adobe-3.0 EPSF-3.0\n(x) run\n"), 422),
    "a vector drawing": (image_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), 422),
    "a bomb of pixels": (image_of(bomb(30_000)), 422),
    "a larger bomb": (image_of(bomb(1 << 20)), 422),
    "half a picture": (image_of(cut_off()), 422),
    "a statement": (b'{"key":"1","where":"1; drop table items"}', 422),
    "a way out": (b'{"key":"1","where":"1) union select key from items --"}', 422),
    "another table": (b'{"key":"1","where":"(select count(*) from settings)"}', 422),
    "attaching": (b'{"key":"1","where":"1 or attach \'/tmp/x\' as y"}', 422),
    "an extension": (b'{"key":"1","where":"load_extension(\'/tmp/x.so\')"}', 422),
    "a file": (b'{"key":"1","where":"readfile(\'/etc/passwd\')"}', 422),
    "a setting": (b'{"key":"1","where":"pragma writable_schema"}', 422),
    "no column": (b'{"key":"1","where":"nix = 1"}', 422),
    "an empty condition": (b'{"key":"1","where":""}', 422),
    "much memory": (b'{"key":"1","where":"length(zeroblob(1000000000)) > 1"}', 422),
    "a number for a condition": (b'{"key":"1","where":1}', 422),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_query_that_makes_no_sense_is_refused(server, name):
    body, status = BODIES[name]
    answer = sent(server, "POST", QUERY, body)
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
    assert is_a_problem(answer)
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text


def test_a_bomb_of_words_takes_no_memory(server):
    before = server.memory()
    answer = sent(server, "POST", QUERY, image_of(text_bomb()))
    assert answer.status_code == 422
    assert server.memory() - before < 100 << 20


ADDRESSES = {
    "no such place": ("GET", "/api/digits/nix", 404),
    "no such index": ("GET", "/api/nix", 404),
    "out of the folder": ("GET", "/api/..%2f..%2fetc/items/1", 404),
    "out of the folder, twice encoded": ("GET", "/api/%252e%252e/items/1", 404),
    "a path in an address": ("GET", "/..%2f..%2f..%2fetc%2fpasswd", 404),
    "a file by its thumbnail": ("GET", "/api/digits/thumbnail/%2fetc%2fpasswd", 404),
    "a null in an address": ("GET", "/api/digits/items/%00", 404),
    "no UTF-8 in an address": ("GET", "/api/digits/items/%ff%fe", 404),
    "no number": ("GET", "/api/digits/items?limit=many", 422),
    "a million items": ("GET", "/api/digits/items?limit=1000000", 422),
    "SQL in an address": ("GET", "/api/digits/items?where=1;drop%20table%20items", 422),
    "another method": ("PUT", "/api/digits/query", 401),
    "a method of nobody": ("BREWCOFFEE", "/api/digits", 400),
    "a query by GET": ("GET", "/api/digits/query", 405),
    "a long address": ("GET", "/api/digits/items/" + "x" * 60_000, (414, 422, 431)),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_address_that_leads_nowhere_is_refused(server, name):
    method, path, status = ADDRESSES[name]
    answer = sent(server, method, path)
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
    assert is_a_problem(answer)


def multipart(*parts: bytes, end: bool = True) -> tuple[bytes, dict[str, str]]:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n" * end
    return body, {"content-type": "multipart/form-data; boundary=b"}


def field(name: str, value: bytes, more: str = "") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value


FORMS = {
    "no boundary": (b"--b\r\n", {"content-type": "multipart/form-data"}, 400),
    "no parts": (*multipart(), 422),
    "no end": (*multipart(field("key", b"7"), end=False), (200, 400, 422)),
    "rubbish": (b"\x00\xff" * 1000, multipart()[1], (400, 422)),
    "no name": (*multipart(b"Content-Disposition: form-data\r\n\r\n7"), (400, 422)),
    "no headers": (*multipart(b"\r\n7"), (400, 422)),
    "an unknown field": (*multipart(field("path", b"/etc/passwd")), 422),
    "a field twice": (*multipart(field("key", b"7"), field("key", b"8")), 422),
    "many fields": (*multipart(*[field(f"f{n}", b"1") for n in range(5000)]), (400, 422)),
    "two files": (
        *multipart(*[field("image", b"x", f'; filename="{n}"') for n in range(2)]), (400, 422),
    ),
    "a file for a key": (*multipart(field("key", b"7", '; filename="../../x"')), 422),
    "no image": (*multipart(field("image", b"no image", '; filename="/etc/passwd"')), 422),
    "no numbers": (*multipart(field("vector", b"1 2 x")), 422),
    "almost numbers": (*multipart(field("vector", b"11 " * 40 + b"x")), 422),
    "long almost numbers": (*multipart(field("vector", b"1" * 60 + b"x")), 422),
    "NaN": (*multipart(field("vector", b"nan " * 64)), 422),
    "another type": (b"key=7", {"content-type": "application/x-www-form-urlencoded"}, 415),
    "plain text": (b'{"key":"7"}', {"content-type": "text/plain"}, 415),
    "no type": (b'{"key":"7"}', {}, 415),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_malformed_form_is_refused(server, name):
    body, headers, status = FORMS[name]
    answer = sent(server, "POST", QUERY, body, headers)
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
    if answer.status_code != 200:
        assert is_a_problem(answer)


@pytest.mark.parametrize("name", ["vector", "key", "text", "limit", "nix"])
def test_only_a_picture_comes_to_a_page_as_a_file(server, name):
    body, headers = multipart(field(name, b"7", '; filename="hostname"'))
    answer = sent(server, "POST", "/digits/query", body, headers)
    assert answer.status_code == 422
    assert "is no file" in answer.text


def test_a_long_query_is_read_aside(server):
    """What is read in turn is as right as what is read at once."""
    body = b'{"key":"7"' + b" " * (1 << 17) + b"}"
    assert sent(server, "POST", QUERY, body).status_code == 200
    assert sent(server, "POST", QUERY, body[:-1]).status_code == 400
    form, headers = multipart(field("text", b"x" * (1 << 17)))
    assert is_a_problem(sent(server, "POST", QUERY, form, headers))


@pytest.mark.parametrize("form", [False, True])
def test_the_event_loop_reads_short_queries_only(form):
    class Aside:
        asked = 0

        async def run(self, work):
            self.asked += 1
            return work()

    async def read(length):
        body, headers = multipart(field("key", b"7"), field("where", b"1" + b" " * length))
        if not form:
            body, headers = b'{"key":"7"' + b" " * length + b"}", JSON
        message = {"type": "http.request", "body": body, "more_body": False}
        head = [(name.encode(), text.encode()) for name, text in headers.items()]
        aside = Aside()
        request = Request({"type": "http", "headers": head}, lambda: asyncio.sleep(0, message))
        assert (await asked_in(request, aside, Limits())).key == "7"
        return aside.asked

    assert asyncio.run(read(1000)) == 0
    assert asyncio.run(read(80_000)) == 1


def test_a_batch_is_bounded(server):
    for body in (
        {"queries": []},
        {"queries": [{"key": "1"}] * 101},
        {"queries": [{"key": "1"}] * 100, "limit": 1000},
        {"queries": [{}]},
        {"queries": {"key": "1"}},
    ):
        answer = server.post("/api/digits/query_many", body)
        assert answer.status_code == 422
        assert is_a_problem(answer)


def test_a_long_body_is_refused_before_it_is_sent(server):
    with server.connect() as peer:
        peer.sendall(
            f"POST {QUERY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {10**12}\r\n\r\n".encode()
        )
        assert b" 413 " in peer.recv(1000).split(b"\r\n")[0]


def test_a_body_without_an_announced_end_is_cut_off(server):
    before = server.memory()
    with server.connect() as peer:
        peer.sendall(
            f"POST {QUERY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        part = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        answer = b""
        try:
            for _ in range(200):
                peer.sendall(part)
        except OSError:
            pass
        peer.settimeout(10)
        try:
            answer = peer.recv(1000)
        except OSError:
            answer = b""
    assert not answer or b" 413 " in answer.split(b"\r\n")[0]
    assert server.memory() - before < 100 << 20


HEADS = {
    "huge headers": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000,
    "many headers": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 60_000,
    "a head without an end": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X" * 2_000_000,
    "a line without an end": b"GET /" + b"x" * 2_000_000,
}


@pytest.mark.parametrize("name", HEADS)
def test_a_huge_head_is_refused(server, name):
    with server.connect() as peer:
        peer.settimeout(10)
        answer = b""
        try:
            peer.sendall(HEADS[name] + (b"\r\n\r\n" if "without" not in name else b""))
            answer = peer.recv(1000)
        except OSError:
            pass  # it may close while this end still sends
    assert not answer or answer.split()[1] in (b"400", b"414", b"431")


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"\0" * 100 + b"\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server, head):
    with server.connect() as peer:
        peer.settimeout(15)
        peer.sendall(head)
        try:
            answer = peer.recv(1000)
        except ConnectionError:
            answer = b""
    assert not answer or answer.split()[1].startswith(b"4")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:8484", 200),
        ("[::1]:8484", 200),
        ("10.1.2.3", 200),  # an address is no name that anyone else could point here
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:8484", 421),
        ("evil.example:127.0.0.1", 421),
        ("", 421),
    ],
)
def test_only_names_of_this_machine_are_answered(server, host, status):
    answer = server.get("/api/indexes", headers={"Host": host})
    assert answer.status_code == status


def test_every_answer_is_guarded_against_the_browser(server):
    for path in ("/", "/api/digits", "/nix", "/api/digits/thumbnail/1", "/openapi.json"):
        headers = server.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "set-cookie" not in headers


def test_another_origin_may_not_even_ask(server):
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    with server.client() as client:
        answer = client.options("/api/digits/items", headers=preflight)
    assert "access-control-allow-origin" not in answer.headers


OWN, OTHER = "http://localhost:8484", "http://evil.example"
PAGES = {
    "a program": ("POST", {}, 200),
    "a page of this server": ("POST", {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, 200),
    "one behind a proxy": ("POST", {"Origin": "https://localhost:8484"}, 200),
    "a form that hides it": ("POST", {"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 200),
    "a typed address": ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
    "a link": ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
    "a picture elsewhere": ("GET", {"Sec-Fetch-Site": "cross-site"}, 403),
    "a script elsewhere": ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, 403),
    "another port": ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
    "a form elsewhere": (
        "POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403,
    ),
    "an older browser": ("POST", {"Origin": OTHER}, 403),
    "a nobody": ("POST", {"Origin": "null"}, 403),
    "a longer name": ("POST", {"Origin": OWN + ".evil.example"}, 403),
    "another port, older": ("POST", {"Origin": "http://localhost:1"}, 403),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_no_page_of_another_site_makes_the_server_work(server, name):
    method, headers, status = PAGES[name]
    path, body = (QUERY, b'{"key":"7"}') if method == "POST" else ("/api/digits/items", b"")
    answer = sent(server, method, path, body, {**JSON, "Host": "localhost:8484", **headers})
    assert answer.status_code == status
    assert status == 200 or is_a_problem(answer)


def test_a_condition_that_takes_long_is_given_up_and_blocks_nobody(server):
    import threading

    slow = " or ".join(f"key like '%{'%'.join('abcdefghij')}%{n}%'" for n in range(400))
    asked = {"key": "1", "where": f"length(key) < 0 or ({slow}) and label < 0"}
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.post(QUERY, asked)))
    thread.start()
    with server.client() as client:
        while thread.is_alive():
            assert client.post(QUERY, json={"key": "7"}).status_code == 200
            time.sleep(0.05)
    assert answers[0].status_code in (200, 422)


def test_a_thousand_slow_connections_take_nothing_down(server):
    """Some send nothing, some half a head, some half a body."""
    starts = [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: loc",
        b"POST /api/digits/query HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
    ]
    before = server.memory()
    with ExitStack() as stack:
        peers = []
        for number in range(1000):
            peer = stack.enter_context(server.connect())
            peer.sendall(starts[number % len(starts)])
            peers.append(peer)
        for _ in range(20):
            assert server.post(QUERY, {"key": "7"}).status_code == 200
        assert server.memory() - before < 200 << 20
        # None of them is waited for without an end: the last has had its time by then.
        deadline = time.monotonic() + 60
        for peer in peers:
            peer.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                answer = peer.recv(1000)
            except ConnectionError:
                answer = b""
            assert not answer or answer.split()[1] == b"408"


def test_the_token_is_long_and_other_machines_need_one(make_index, run):
    path = make_index("vectors")
    short = run("serve", "-i", path, "--port", "0", HASHRET_TOKEN="short")
    assert short.returncode == 2
    assert "16 characters" in short.stderr
    with serving("-i", path, "--host", "0.0.0.0", token=None) as open_to_all:
        assert any(line.startswith("Token: ") for line in open_to_all.said)
        assert open_to_all.get("/api/vectors").status_code == 401
        answer = open_to_all.get("/api/vectors", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 401


def test_what_cannot_be_served_is_said_in_one_message(make_index, run, tmp_path):
    path = make_index("vectors")
    (tmp_path / "other").mkdir()
    path.rename(tmp_path / "other" / "api")
    out = run("serve", "-i", tmp_path / "other" / "api")
    assert out.returncode == 2
    assert "rename" in out.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        out = run("serve", "-i", make_index("digits"), "--port", taken.getsockname()[1])
    assert out.returncode == 1
    assert "Cannot listen" in out.stderr
    assert "Traceback" not in out.stderr


def test_without_the_extra_there_is_one_clear_message(make_index, run, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "uvicorn.py").write_text("raise ModuleNotFoundError(name='uvicorn')")
    import os

    places = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])
    out = run("serve", "-i", make_index("digits"), PYTHONPATH=places)
    assert out.returncode == 1
    assert "pip install 'hashret[web]'" in out.stderr
    assert out.stderr.count("\n") == 1


def test_big_pictures_are_taken_up_to_the_cap(server):
    file = io.BytesIO()
    Image.fromarray(np.zeros((4000, 4000), dtype=np.uint8)).save(file, "PNG")
    assert sent(server, "POST", QUERY, image_of(file.getvalue())).status_code == 200


def test_the_pictures_of_a_request_are_bounded_together(server, make_index):
    picture = base64.b64encode(bomb(4800)).decode()
    for queries in ([{"image": picture}] * 3, [{"key": "7"}, *[{"image": picture}] * 3]):
        answer = server.post("/api/digits/query_many", {"queries": queries})
        assert answer.status_code == 422
        assert "megapixels together" in answer.text
    items = [{"key": f"big {n}", "image": picture} for n in range(3)]
    with (
        hashret.open(make_index("digits")) as index,
        pytest.raises(hashret.InputError, match="megapixels together"),
    ):
        add(index, AddRequest(items=items).items)


def test_a_reader_outlives_what_is_asked_wrongly(make_index):
    def refused(index):
        raise Problem(422, "No.", "Ask otherwise.")

    one = ServedIndex("digits", make_index("digits"), 5.0)
    with one.reader() as first:
        pass
    for wrong, error in (
        (refused, Problem),
        (lambda index: index.query_code("00"), hashret.EncoderMismatchError),
    ):
        with pytest.raises(error):
            one.ask(wrong)
        with one.reader() as again:
            assert again is first
    one.close()


def test_a_body_that_waits_to_be_asked_for_is_asked_for(server):
    body = b'{"key":"7"}'
    with server.connect() as peer:
        peer.settimeout(10)
        peer.sendall(
            f"POST {QUERY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        assert peer.recv(1000).startswith(b"HTTP/1.1 100")
        peer.sendall(body)
        assert b" 200 " in peer.recv(1000).split(b"\r\n")[0]


def test_requests_in_one_go_are_answered_in_turn(server):
    one = "GET /api/digits/items/{} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with server.connect() as peer:
        peer.settimeout(10)
        peer.sendall("".join(one.format(key) for key in range(5)).encode())
        got = b""
        while got.count(b'"fields"') < 5:
            got += peer.recv(10_000)
    places = [got.index(f'"key":"{key}"'.encode()) for key in range(5)]
    assert places == sorted(places)
    assert got.count(b"HTTP/1.1 200") == 5
