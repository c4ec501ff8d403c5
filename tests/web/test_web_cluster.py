"""A cluster is served as an index is."""

import hashlib

import numpy as np
import pytest
from cluster_fixtures import split
from PIL import Image
from served import TOKEN, serving

import hashret


@pytest.fixture(scope="module")
def index(digits, tmp_path_factory):
    """300 digits in files, so that their pictures can be read again."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(digits[:300]):
        Image.fromarray(image).save(folder / f"{number}.png")
    place = tmp_path_factory.mktemp("served-cluster")
    with hashret.create(
        place / "one", folder, 16, epochs=1, random_state=0, keep_vectors=True
    ) as index:
        yield index


@pytest.fixture(scope="module")
def cluster(index, tmp_path_factory):
    return split(index, tmp_path_factory.mktemp("served-cluster") / "pictures", 3)


@pytest.fixture(scope="module")
def server(index, cluster, ray_cluster):
    with serving("-i", cluster, "-i", index.path, "--address", ray_cluster.address) as server:
        yield server


def asked(server, name, **request):
    answer = server.post(f"/api/{name}/query", {"order": "key", **request})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_api_answers_as_for_an_index(server, index):
    key = sorted(index)[7]
    for request in (
        {"key": key},
        {"key": key, "radius": 3},
        {"code": "00ff"},
        {"key": key, "rerank": True},
    ):
        ours, theirs = asked(server, "pictures", **request), asked(server, "one", **request)
        assert ours["rings"] == theirs["rings"], request
    told = server.get("/api/pictures").json()
    assert (told["items"], told["kind"]) == (300, "images")
    assert {one["name"] for one in server.get("/api/indexes").json()["indexes"]} == {
        "one",
        "pictures",
    }
    found = server.get("/api/pictures/items", params={"key": key}).json()["items"]
    assert [item["key"] for item in found] == [key]


def test_pictures_come_from_the_shards(server, index):
    for key in sorted(index)[:5]:
        pictures = [
            server.get(f"/api/{name}/thumbnail", params={"key": key})
            for name in ("pictures", "one")
        ]
        assert [one.status_code for one in pictures] == [200, 200]
        assert len({hashlib.sha256(one.content).digest() for one in pictures}) == 1


def test_its_pages_are_there(server, index):
    key = sorted(index)[3]
    for place in (
        "/",
        "/pictures/",
        f"/pictures/?key={key}",
        f"/pictures/?key={key}&flip=1",
        f"/pictures/?key={key}&where=key like '%251%25'",
        "/pictures/about",
        "/pictures/outliers",
    ):
        answer = server.get(place, headers={"accept": "text/html"})
        assert answer.status_code == 200, place
    refused = server.get("/pictures/duplicates.json")
    assert refused.status_code == 422
    assert "several shards" in refused.json()["error"]["message"]


def test_it_is_not_written_to(cluster, ray_cluster):
    with serving(
        "-i", cluster, "--address", ray_cluster.address, "--writable", token=TOKEN
    ) as server:
        headers = {"authorization": f"Bearer {TOKEN}"}
        with server.client() as client:
            items = [{"key": "new", "vector": np.zeros(64).tolist()}]
            answer = client.post("/api/pictures/items", json={"items": items}, headers=headers)
        assert answer.status_code == 422
        assert "hashret cluster index" in answer.json()["error"]["message"]
