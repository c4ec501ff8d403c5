"""The HTTP API of a served process: its answers are those of the index."""

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served import TOKEN, copied, serving

import hashret
from hashret.web.answers import answer_view


@pytest.fixture(scope="module")
def folders(_trained, tmp_path_factory):
    home = tmp_path_factory.mktemp("served")
    paths = copied(_trained, home, "digits", "vectors", "photos")
    return {path.name: path for path in paths}


@pytest.fixture(scope="module")
def server(folders):
    with serving(*(word for path in folders.values() for word in ("-i", path))) as server:
        yield server


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def comparable(view: dict) -> dict:
    return {name: value for name, value in view.items() if name not in ("stats", "reconstruction")}


def test_every_way_to_ask_gives_the_answer_of_the_index(server, folders, digits, vectors):
    image, vector = png(digits[310]), vectors[5]
    with (
        hashret.open(folders["digits"]) as digits_index,
        hashret.open(folders["vectors"]) as vectors_index,
    ):
        code = digits_index["7"].code.tobytes().hex()
        expected = {
            "image": digits_index.query(digits[310], limit=7),
            "pixels": digits_index.query(digits[310] / 255, limit=7),
            "key": digits_index.query_key("7", radius=30, limit=7, where="label < 5"),
            "code": digits_index.query_code(code, limit=7),
            "vector": vectors_index.query(vector, limit=7, order="certainty"),
        }
    many = {"limit": 7, "order": "certainty", "queries": [{"vector": vector.tolist()}] * 2}
    encoded = base64.b64encode(image).decode()
    pixels = (digits[310] / 255).reshape(-1).tolist()
    answers = {
        "image": [
            server.post("/api/digits/query", {"image": encoded, "limit": 7}).json(),
            server.post("/api/digits/query", None, data={"limit": "7"}, files={"image": image}),
        ],
        "pixels": [server.post("/api/digits/query", {"vector": pixels, "limit": 7}).json()],
        "key": [
            server.post(
                "/api/digits/query", {"key": "7", "radius": 30, "limit": 7, "where": "label < 5"}
            ).json(),
        ],
        "code": [server.post("/api/digits/query", {"code": code, "limit": 7}).json()],
        "vector": [
            server.post(
                "/api/vectors/query",
                {"vector": vector.tolist(), "limit": 7, "order": "certainty"},
            ).json(),
            *server.post("/api/vectors/query_many", many).json()["answers"],
        ],
    }
    for name, views in answers.items():
        for view in views:
            view = view if isinstance(view, dict) else view.json()
            assert comparable(view) == comparable(answer_view(expected[name])), name
            assert view["count"] > 0


def test_a_vector_of_another_length_is_counted(server):
    answer = server.post("/api/vectors/query", {"vector": [1, 2, 3]})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "Expected 12 numbers, got 3."


def test_what_an_answer_tells(server):
    answer = server.post("/api/digits/query", {"key": "7", "limit": 1000, "radius": 20}).json()
    assert answer["complete"]
    assert answer["rings"][0]["distance"] == 0
    assert "7" in [hit["key"] for hit in answer["rings"][0]["hits"]]
    code = int(answer["code"], 16)
    for ring in answer["rings"]:
        assert ring["count"] == len(ring["hits"])
        for hit in ring["hits"]:
            flipped = sum(1 << (63 - bit) for bit in hit["flipped"])
            assert int(hit["code"], 16) == code ^ flipped
            assert len(hit["flipped"]) == hit["distance"] == ring["distance"]
    assert set(answer["stats"]) == {
        "plan", "probes", "candidates", "seconds", "estimated_seconds"
    }  # fmt: skip
    assert not server.post("/api/digits/query", {"key": "7", "limit": 3}).json()["complete"]


def test_a_reconstruction_of_the_query_is_a_picture_or_a_vector(server):
    asked = {"key": "7", "limit": 1, "reconstruct": True}
    shown = server.post("/api/digits/query", asked).json()["reconstruction"]
    with Image.open(io.BytesIO(base64.b64decode(shown["png"]))) as picture:
        assert picture.size == (shown["width"], shown["height"]) == (8, 8)
    vector = server.post("/api/vectors/query", asked).json()["reconstruction"]
    assert vector["kind"] == "vector"
    assert len(vector["values"]) == 12


def test_the_indexes_and_what_they_are(server, folders):
    listed = server.get("/api/indexes").json()["indexes"]
    assert listed == [
        {"name": "digits", "items": 300, "n_bits": 64, "kind": "images"},
        {"name": "vectors", "items": 600, "n_bits": 32, "kind": "vectors"},
        {"name": "photos", "items": 100, "n_bits": 32, "kind": "images"},
    ]
    about = server.get("/api/digits")
    assert about.json()["items"] == 300
    assert about.json()["fields"] == ["label"]
    assert str(folders["digits"]) not in about.text


def test_items_by_key_and_in_order(server):
    assert server.get("/api/digits/items/7").json()["key"] == "7"
    assert [one["key"] for one in server.get("/api/digits/items?limit=3").json()["items"]] == [
        "0", "1", "2"
    ]  # fmt: skip
    found = server.get("/api/digits/items", params={"where": "label = 3", "limit": 5}).json()
    assert {one["fields"]["label"] for one in found["items"]} == {3}
    assert server.get("/api/digits/items/nix").status_code == 404


def test_thumbnails_are_the_pictures_of_items(server, folders, digits, image_folder):
    key = str(sorted(image_folder.rglob("*.png"))[0])
    with hashret.open(folders["photos"]) as index:
        key = next(iter(index))
    for address, array in (
        ("/api/digits/thumbnail/17", digits[17]),
        (f"/api/photos/thumbnail/{key.replace('/', '%2F')}", digits[int(Path(key).stem)]),
    ):
        answer = server.get(address)
        assert answer.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert np.array_equal(np.asarray(picture), array)
    small = server.get("/api/digits/thumbnail/17?side=8")
    assert small.status_code == 200
    assert server.get("/api/vectors/thumbnail/17").status_code == 404
    assert server.get("/api/digits/thumbnail/..%2F..%2Fetc%2Fpasswd").status_code == 404
    assert server.get("/api/digits/thumbnail/17?side=100000").status_code == 422


KEYS = [
    "a/b/c.png", "/abs/path", "ümläut ☃ 😀", "a?b#c%20d", "a\nb\n", " ", "..", "../..", ".", "//",
    "a\\b", "'; drop table items; --", "<script>alert(1)</script>", "\x01\x7f", "items", "%2F",
]  # fmt: skip


def test_keys_may_hold_anything(tmp_path):
    codes = np.arange(len(KEYS) * 8, dtype=np.uint8).reshape(-1, 8)
    hashret.create_from_codes(tmp_path / "odd", codes, keys=KEYS).close()
    from urllib.parse import quote

    with serving("-i", tmp_path / "odd") as server, server.client() as client:
        for key, code in zip(KEYS, codes, strict=True):
            by_parameter = client.get("/api/odd/items", params={"key": key})
            assert by_parameter.json()["items"][0]["code"] == code.tobytes().hex(), key
            asked = client.post("/api/odd/query", json={"key": key, "limit": 1}).json()
            assert asked["rings"][0]["hits"][0]["key"] == key
            if key.strip("./"):  # a client takes dots out of an address before it sends it
                by_path = client.get(f"/api/odd/items/{quote(key, safe='')}")
                assert by_path.json().get("key") == key


def test_answers_follow_what_another_process_writes(folders, server, digits):
    before = server.post("/api/digits/query", {"key": "7", "limit": 1}).json()
    assert before["count"] == 1
    script = (
        "import hashret, sys, numpy as np\n"
        "index = hashret.open(sys.argv[1])\n"
        "index.add([('from elsewhere', np.load(sys.argv[2]), {'label': 77})])\n"
    )
    file = folders["digits"].parent / "new.npy"
    np.save(file, digits[333])
    subprocess.run(
        [sys.executable, "-c", script, folders["digits"], file], check=True, capture_output=True
    )
    found = server.post("/api/digits/query", {"key": "from elsewhere", "limit": 1})
    assert found.json()["rings"][0]["hits"][0]["fields"] == {"label": 77}
    code = server.get("/api/digits/items/from elsewhere").json()["code"]
    by_code = server.post("/api/digits/query", {"code": code, "limit": 1000, "radius": 0}).json()
    assert "from elsewhere" in [hit["key"] for hit in by_code["rings"][0]["hits"]]
    assert server.get("/api/digits").json()["items"] == 301
    subprocess.run(
        [sys.executable, "-m", "hashret", "remove", "from elsewhere", "-i", folders["digits"]],
        check=True,
        capture_output=True,
    )
    assert server.get("/api/digits/items/from elsewhere").status_code == 404
    by_code = server.post("/api/digits/query", {"code": code, "limit": 1000, "radius": 0}).json()
    assert "from elsewhere" not in str(by_code["rings"])


def test_a_damaged_or_removed_index_is_told_and_the_server_lives(make_index, tmp_path):
    path = make_index("digits")
    other = make_index("vectors")
    with serving("-i", path, "-i", other) as server:
        asked = ("/api/digits/query", {"key": "7", "limit": 1})
        assert server.post(*asked).status_code == 200
        whole = (path / "items.db").read_bytes()
        spoiled = bytearray(whole)
        spoiled[4096:12288] = b"\xff" * 8192
        (path / "items.db").write_bytes(spoiled)
        answer = server.post(*asked)
        assert answer.status_code == 500
        assert set(answer.json()["error"]) == {"message", "remedy", "kind"}
        assert "damaged" in answer.json()["error"]["message"]
        away = path.rename(tmp_path / "away")
        assert server.post(*asked).status_code == 500
        lines = server.get("/api/indexes").json()["indexes"]
        assert "error" in lines[0]
        assert lines[1]["items"] == 600
        assert server.post("/api/vectors/query", {"key": "7"}).status_code == 200
        away.rename(path)
        (path / "items.db").write_bytes(whole)
        assert server.post(*asked).status_code == 200
        assert server.lives()


def test_serving_never_imports_tensorflow(make_index, digits):
    path = make_index("digits")
    script = f"""
import sys, threading
from fastapi.testclient import TestClient
from pathlib import Path
from hashret.web.app import create_app
from hashret.web.settings import Settings
import base64
with TestClient(create_app(Settings({{"digits": Path({str(path)!r})}})),
                base_url="http://localhost") as client:
    image = base64.b64encode(Path(sys.argv[1]).read_bytes()).decode()
    for asked in ({{"image": image, "reconstruct": True}}, {{"key": "3", "reconstruct": True}}):
        assert client.post("/api/digits/query", json=asked).status_code == 200
    assert client.get("/api/digits/thumbnail/3").status_code == 200
    assert client.get("/api/digits").status_code == 200
    assert client.get("/").status_code == 200
    for _ in range(100):
        answer = client.get("/digits/outliers.json")
        if answer.status_code != 202:
            break
        threading.Event().wait(0.5)
    assert len(answer.json()["outliers"]) == 60
sys.exit(any(name in sys.modules for name in ("tensorflow", "keras")))
"""
    image = path.parent / "one.png"
    image.write_bytes(png(digits[1]))
    out = subprocess.run([sys.executable, "-c", script, image], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr


def test_metrics_count_by_route_and_never_by_address(server):
    server.get("/api/digits/items/some-secret-key")
    numbers = server.get("/metrics").text
    assert 'route="/api/{index}/items/{key}",status="404"' in numbers
    assert "hashret_request_seconds_bucket" in numbers
    assert "some-secret-key" not in numbers


def test_queries_of_pages_count_as_those_of_the_api_do(make_index):
    with serving("-i", make_index("digits")) as server:

        def counted() -> tuple[float, float]:
            text = server.get("/metrics").text
            names = ("hashret_queries_total", "hashret_search_seconds_total")
            found = [re.search(rf'^{name}{{index="digits"}} (\S+)$', text, re.M) for name in names]
            return tuple(float(one[1]) if one else 0.0 for one in found)

        server.get("/digits/")  # asks nothing
        assert counted() == (0, 0)
        for place in ("/digits/?key=7", "/digits/query.json?key=7&flip=3"):
            assert server.get(place).status_code == 200
        assert server.get("/digits/?key=nope").status_code == 404
        number, seconds = counted()
        assert number == 2
        assert seconds > 0
        server.post("/api/digits/query", {"key": "7"})
        assert counted()[0] == 3
        assert counted()[1] > seconds


class TestChanging:
    @pytest.fixture
    def writable(self, make_index):
        with serving("-i", make_index("digits"), "--writable") as server:
            token = next(line for line in server.said if line.startswith("Token: "))
            server.bearer = {"Authorization": f"Bearer {token.split()[1]}"}
            yield server

    def test_items_are_added_and_removed_with_the_token(self, writable, digits):
        image = base64.b64encode(png(digits[340])).decode()
        items = {"items": [{"key": "ours/1", "image": image, "fields": {"label": 5}}]}
        assert writable.post("/api/digits/items", items).status_code == 401
        added = writable.post("/api/digits/items", items, headers=writable.bearer)
        assert added.json() == {"added": 1, "updated": 0, "unchanged": 0, "skipped": []}
        found = writable.post("/api/digits/query", {"image": image, "limit": 1000}).json()
        assert "ours/1" in [hit["key"] for hit in found["rings"][0]["hits"]]
        with writable.client() as client:
            assert client.delete("/api/digits/items/ours/1").status_code == 401
            gone = client.delete("/api/digits/items/ours%2F1", headers=writable.bearer)
            assert gone.json() == {"removed": 1}
            several = client.delete(
                "/api/digits/items", params={"key": ["1", "nix"]}, headers=writable.bearer
            )
            assert several.status_code == 404  # and none is removed
            assert client.get("/api/digits/items/1").status_code == 200

    def test_a_picture_that_came_without_a_file_has_none_to_show(self, writable, digits):
        image = base64.b64encode(png(digits[311])).decode()
        items = {"items": [{"key": "sent", "image": image}]}
        writable.post("/api/digits/items", items, headers=writable.bearer)
        answer = writable.get("/api/digits/thumbnail/sent")
        assert answer.status_code == 404
        assert "without a file" in answer.json()["error"]["message"]

    def test_a_field_that_holds_something_else_is_named_once(self, writable):
        item = {"key": "1", "image": "", "fields": {"x": [1]}}
        answer = writable.post("/api/digits/items", {"items": [item]}, headers=writable.bearer)
        assert answer.status_code == 422
        assert answer.json()["error"]["message"] == (
            "items.0.fields.x: a field holds text, a number, true, false or null"
        )

    def test_reading_takes_no_token_on_this_machine(self, writable):
        assert writable.get("/api/digits").status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic eDphLXRva2Vu"},
            {"Cookie": "token=x"},
            {"Authorization": ""},
        ],
    )
    def test_no_other_credentials_change_anything(self, writable, headers):
        answer = writable.post("/api/digits/items", {"items": []}, headers=headers)
        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers

    def test_a_browser_s_password_reads_and_does_not_write(self, make_index):
        basic = {"Authorization": "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()}
        with serving("-i", make_index("vectors"), "--writable", token=TOKEN) as server:
            assert server.get("/api/vectors").status_code == 401
            assert server.get("/", headers=basic).status_code == 200
            assert server.get("/api/vectors", headers=basic).status_code == 200
            item = {"items": [{"key": "x", "vector": [0.0] * 12}]}
            assert server.post("/api/vectors/items", item, headers=basic).status_code == 401
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            assert server.post("/api/vectors/items", item, headers=bearer).status_code == 200
            assert server.get("/healthz").status_code == 200
            assert server.get("/metrics").status_code == 401


@pytest.mark.parametrize("place", ["/", "/digits/?key=7", "/api/digits", "/healthz", "/nothing"])
def test_the_head_of_an_answer_can_be_asked_for(server, place):
    whole = server.get(place)
    with server.client() as client:
        head = client.head(place)
    assert head.status_code == whole.status_code
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert head.content == b""


def test_every_error_is_described_in_the_shape_that_it_has(server):
    for place, routes in server.get("/openapi.json").json()["paths"].items():
        for method, route in routes.items():
            for status, answer in route["responses"].items():
                if status >= "400":
                    shape = answer["content"]["application/json"]["schema"]
                    assert shape == {"$ref": "#/components/schemas/Error"}, (method, place, status)


def test_every_name_of_the_api_is_described(server):
    description = server.get("/openapi.json").json()
    assert not re.search(r":\w+:`|``|Attributes:", json.dumps(description))
    found = set()

    def look(schema):
        for one in schema.values() if isinstance(schema, dict) else schema:
            if isinstance(one, dict | list):
                look(one)
        for name, one in schema.get("properties", {}).items() if isinstance(schema, dict) else ():
            found.add(name)
            known = (
                one.get("description") or "$ref" in one or name in ("status", "error", "indexes")
            )
            assert known, name

    look(description)
    assert {"radius", "where", "shortlist", "similarity", "mean_sharing"} <= found
    facts = server.get("/api/digits").json()
    assert facts.keys() <= description["components"]["schemas"]["IndexFacts"]["properties"].keys()


def test_nothing_is_changed_without_writable(server):
    with server.client() as client:
        answer = client.post("/api/digits/items", json={"items": []})
        for refused in (answer, client.delete("/api/digits/items/7")):
            assert refused.status_code == 403
            assert "--writable" in refused.json()["error"]["remedy"]
    assert server.get("/api/digits/items/7").status_code == 200


def test_several_processes_share_the_port_and_are_followed_when_they_die(make_index):
    with serving("-i", make_index("digits"), "--workers", "2") as server:
        children = f"/proc/{server.process.pid}/task/{server.process.pid}/children"

        def workers() -> set[int]:
            found = map(int, Path(children).read_text().split())
            return {
                pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            }

        for _ in range(20):
            assert server.post("/api/digits/query", {"key": "7"}).status_code == 200
        assert 'hashret_queries_total{index="digits"} 20.0' in server.get("/metrics").text
        before = workers()
        assert len(before) == 2
        time.sleep(5)  # one that ends sooner would be given up
        os.kill(min(before), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(workers()) < 2 or workers() == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for _ in range(20):
            assert server.post("/api/digits/query", {"key": "7"}).status_code == 200
    assert server.process.returncode == 0
