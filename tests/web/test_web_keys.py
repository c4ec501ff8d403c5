"""Keys of any kind in addresses: exactly themselves, and within reach of every link."""

import io
import json
import os
from html.parser import HTMLParser
from http.client import HTTPConnection
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from served import serving

import hashret

LONGEST = 10_000
KEYS = [".", "..", "鍵" * LONGEST, "🔑" * LONGEST, "a/../b", "?&#%", " "]


@pytest.fixture(scope="module")
def server(tmp_path_factory, digits):
    path = tmp_path_factory.mktemp("keys") / "odd"
    items = [(key, digits[number]) for number, key in enumerate(KEYS)]
    items += [(f"plain {number}", digits[number]) for number in range(20, 60)]
    options = {"n_bits": 16, "epochs": 1, "random_state": 0, "keep_vectors": True}
    hashret.create(path, items, **options).close()
    with serving("-i", path, "--writable") as server:
        yield server


def got(server, place: str) -> tuple[int, bytes]:
    """Status and body; httpx refuses addresses of this length."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", place)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


class _Cards(HTMLParser):
    """The links to what is like each item, and the addresses of the pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        given = dict(attributes)
        if given.get("class") == "more":
            self.links.append(given["href"])
        elif tag == "img" and self.links:
            self.pictures.append(given["src"])


@pytest.mark.parametrize("number", range(len(KEYS)))
def test_links_and_pictures_of_a_page_lead_to_the_item(server, digits, number):
    cards = _Cards()
    cards.feed(server.get("/odd/").text)
    status, _ = got(server, f"/odd/{cards.links[number][2:]}")
    assert status == 200
    _, twin = got(server, f"/odd/query.json{cards.links[number][2:]}")
    assert json.loads(twin)["state"] == {"key": KEYS[number]}
    _, content = got(server, cards.pictures[number])
    with Image.open(io.BytesIO(content)) as picture:
        assert np.abs(np.asarray(picture).astype(int) - digits[number]).max() <= 1


@pytest.mark.parametrize("number", [n for n, key in enumerate(KEYS) if key.strip(".")])
def test_a_path_holds_any_key_but_dots(server, number):
    part = quote(KEYS[number], safe="")
    _, item = got(server, f"/api/odd/items/{part}")
    assert json.loads(item)["key"] == KEYS[number]
    assert got(server, f"/api/odd/thumbnail/{part}")[0] == 200


def test_a_key_is_no_path_from_the_folder_of_the_server(image_folder, tmp_path, monkeypatch):
    options = {"n_bits": 16, "epochs": 1, "random_state": 0}
    monkeypatch.chdir(image_folder)
    with hashret.create(tmp_path / "x", image_folder, **options) as index:
        key = next(iter(index))
        path = os.path.relpath(key)
        assert index[path].key == key  # for who calls it, as for the command line, it is one
    with serving("-i", tmp_path / "x", "--writable") as server, server.client() as client:
        token = next(line for line in server.said if line.startswith("Token: "))
        bearer = {"Authorization": f"Bearer {token.split()[1]}"}
        for name, status in ((path, 404), (key, 200)):
            part = quote(name, safe="")
            answers = [
                client.post("/api/x/query", json={"key": name}),
                client.get("/api/x/items", params={"key": name}),
                client.get(f"/api/x/items/{part}"),
                client.get(f"/api/x/thumbnail/{part}"),
                client.get("/api/x/thumbnail", params={"key": name}),
                client.get("/x/", params={"key": name}),
                client.get("/x/", params={"key": name, "flip": "1"}),
                client.delete(f"/api/x/items/{part}", headers=bearer),
            ]
            assert [answer.status_code for answer in answers] == [status] * len(answers)
