"""The client answers as the index itself does."""

import base64
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image
from served import TOKEN, copied, serving

import hashret
from hashret.web.batching import batches
from hashret.web.settings import Limits


@pytest.fixture(scope="module")
def folders(_trained, tmp_path_factory):
    paths = copied(_trained, tmp_path_factory.mktemp("clients"), "digits", "vectors", "photos")
    return {path.name: path for path in paths}


@pytest.fixture(scope="module")
def server(folders):
    named = [word for path in folders.values() for word in ("-i", path)]
    with serving(*named, "--writable", token=TOKEN) as server:
        yield server


def same(result: hashret.Result, expected: hashret.Result) -> bool:
    assert np.array_equal(result.code, expected.code)
    assert (result.radius, result.limit) == (expected.radius, expected.limit)
    assert [(hit.rank, hit.key, hit.distance, hit.similarity, hit.fields) for hit in result] == [
        (hit.rank, hit.key, hit.distance, hit.similarity, hit.fields) for hit in expected
    ]
    assert [result.explain(hit) for hit in result] == [expected.explain(hit) for hit in expected]
    return len(result) > 0


@pytest.fixture
def pair(server, folders, request):
    with (
        hashret.open(folders[request.param]) as index,
        hashret.Client(server.address, request.param, token=TOKEN) as client,
    ):
        yield client, index


images = pytest.mark.parametrize("pair", ["digits"], indirect=True)
vectors_too = pytest.mark.parametrize("pair", ["vectors"], indirect=True)


@images
def test_images_of_every_form(pair, digits, image_folder, idx_files):
    client, index = pair
    file = sorted(image_folder.rglob("*.png"))[0]
    row = f"{idx_files / 'test-images-idx3-ubyte'}#7"
    for value in (
        digits[320], digits[320] / 255, Image.fromarray(digits[320]), file, str(file), row,
        file.read_bytes(),
    ):  # fmt: skip
        assert same(client.query(value, limit=6), index.query(value, limit=6))
    colour = Image.fromarray(digits[320]).convert("CMYK")
    assert len(client.query(colour)) == 10


@vectors_too
def test_vectors_keys_codes_and_batches(pair, vectors):
    client, index = pair
    assert same(client.query(vectors[3]), index.query(vectors[3]))
    assert same(
        client.query(vectors[3], order="certainty"), index.query(vectors[3], order="certainty")
    )
    assert same(client.query_key("5", 4, None), index.query_key("5", 4, None))
    code = index["5"].code
    assert same(client.query_code(code, limit=3), index.query_code(code, limit=3))
    text = code.tobytes().hex()
    assert same(
        client.query_code(text, where="key <> '5'"), index.query_code(text, where="key <> '5'")
    )
    many = client.query_many(vectors[:230], limit=5)
    assert len(many) == 230
    assert all(
        same(one, other)
        for one, other in zip(many, index.query_many(vectors[:230], limit=5), strict=True)
    )
    assert client.query_many([]) == []


@vectors_too
def test_what_the_index_holds(pair):
    client, index = pair
    assert len(client) == len(index) == client.info()["items"]
    assert (client.kind, client.n_bits) == (index.kind, index.n_bits)
    assert "5" in client
    assert "nix" not in client
    assert 5 not in client
    assert client["5"] == index["5"]
    assert np.array_equal(client["5"].code, index["5"].code)
    assert client.items(3) == index.items(3)


def test_items_are_those_of_the_index_however_many(tmp_path):
    codes = np.random.default_rng(0).integers(256, size=(2300, 8), dtype=np.uint8)
    keys = [f"k{number}" for number in range(len(codes))]
    fields = [{"n": number % 3} for number in range(len(codes))]
    with (
        hashret.create_from_codes(tmp_path / "codes", codes, keys, fields) as index,
        serving("-i", tmp_path / "codes") as server,
        hashret.Client(server.address) as client,
    ):
        assert len(client.items()) == 2300
        for arguments in (
            (), (None,), (1000,), (1001,), (2300,), (5000,), (None, "n < 2 -- two of three"),
            (1200, "n = 0 or n = 1"), (None, "n = 7"), (None, "n = 2"),
        ):  # fmt: skip
            assert client.items(*arguments) == index.items(*arguments)


def test_requests_are_cut_by_their_bytes_and_pixels():
    texts = [{"text": "ö" * 90_000} for _ in range(100)]
    blocks = list(batches(texts))
    assert [part for block in blocks for part in block] == texts
    assert 1 < len(blocks) < 10
    assert all(len(json.dumps({"queries": block})) <= Limits().body_bytes for block in blocks)
    file = io.BytesIO()
    Image.new("1", (4000, 4000)).save(file, "PNG")
    images = [{"image": base64.b64encode(file.getvalue()).decode()}] * 7
    assert [len(block) for block in batches(images)] == [3, 3, 1]
    assert [len(block) for block in batches([{"key": "x"}] * 250)] == [100, 100, 50]
    assert list(batches([])) == []


@vectors_too
def test_errors_are_those_of_the_index(pair):
    client, _ = pair
    for ask, error in (
        (lambda: client["nix"], hashret.KeyNotFoundError),
        (lambda: client.query_key("nix"), hashret.KeyNotFoundError),
        (lambda: client.query([1, 2]), hashret.InputError),
        (lambda: client.query([float("nan")] * 12), hashret.InputError),
        (lambda: client.query_key("1", where="nix = 1"), hashret.UsageError),
        (lambda: client.query_key("1", limit=0), hashret.UsageError),
        (lambda: client.query_key("1", None, None), hashret.UsageError),
        (lambda: client.query_key("1", mood="good"), hashret.UsageError),
        (lambda: client.query_code("00"), hashret.EncoderMismatchError),
        (lambda: client.query_key("1", rerank=True), hashret.UsageError),
        (lambda: client.remove("nix"), hashret.KeyNotFoundError),
        (lambda: client.query("no/such/file.npy"), hashret.InputError),
        (lambda: client.query_many([[0.0] * 12], limit=0), hashret.UsageError),
        (lambda: client.query_many([[0.0] * 12], limit="3"), hashret.UsageError),
        (lambda: client.items(0), hashret.UsageError),
        (lambda: client.items(where="key = '\ud800'"), hashret.UsageError),
        (lambda: client["\ud800"], hashret.KeyNotFoundError),
        (lambda: client.query_key("\ud800"), hashret.KeyNotFoundError),
        (lambda: client.remove("\ud800"), hashret.KeyNotFoundError),
        (lambda: client.add([("x", [0.0] * 12, {"f": float("nan")})]), hashret.HashretError),
    ):
        with pytest.raises(error):
            ask()


@vectors_too
def test_items_are_added_and_removed(pair, vectors):
    client, index = pair
    items = [(f"new/{n}", vectors[n] + 1, {"n": n}) for n in range(130)]
    report = client.add(items)
    assert (report.added, report.updated, report.unchanged) == (130, 0, 0)
    assert client.add(items).unchanged == 130
    assert index["new/7"].fields == {"n": 7}
    assert np.array_equal(index["new/7"].code, index.encode([vectors[7] + 1])[0])
    assert client.remove([f"new/{n}" for n in range(100)]) == 100
    assert client.remove([f"new/{n}" for n in range(100, 130)]) == 30
    assert "new/7" not in index
    with pytest.raises(hashret.KeyNotFoundError):
        client.remove(["1", "nix"])
    assert "1" in index


def test_pictures_are_added_as_they_are_locally(server, folders, image_folder):
    with hashret.Client(server.address, "photos", token=TOKEN) as client:
        files = sorted(image_folder.rglob("*.png"))[:5]
        assert client.add([(f"mine/{file.name}", str(file)) for file in files]).added == 5
        for file in files:
            hit = client.query(file, limit=None, radius=0)
            assert f"mine/{file.name}" in [one.key for one in hit]


def test_codes_are_added_to_an_index_of_codes(tmp_path):
    codes = np.random.default_rng(0).integers(256, size=(50, 8), dtype=np.uint8)
    hashret.create_from_codes(tmp_path / "codes", codes[:30]).close()
    with (
        serving("-i", tmp_path / "codes", "--writable", token=TOKEN) as server,
        hashret.Client(server.address, token=TOKEN) as client,
    ):
        report = client.add_codes(codes[30:], [f"c{n}" for n in range(20)])
        assert report.added == 20
        assert client.query_code(codes[35], limit=1)[0].key == "c5"
        with pytest.raises(hashret.UsageError):
            client.query("words")


def test_an_index_must_be_named_where_there_are_several(server):
    with pytest.raises(hashret.IndexNotFoundError, match="digits, vectors, photos"):
        hashret.Client(server.address, token=TOKEN)
    nix = hashret.Client(server.address, "nix", token=TOKEN)
    with nix as client, pytest.raises(hashret.IndexNotFoundError):
        client.info()


def test_a_client_says_who_does_not_answer(server):
    with pytest.raises(hashret.HashretError, match="does not answer"):
        hashret.Client("http://127.0.0.1:1", "x").info()
    nobody = hashret.Client(server.address, "digits")
    with nobody as client, pytest.raises(hashret.HashretError, match="token"):
        client.info()
    for address in ("localhost:8484", "ftp://x", "", 5, "http://x:port"):
        with pytest.raises(hashret.UsageError):
            hashret.Client(address, "x")


@vectors_too
def test_threads_share_a_client(pair):
    client, index = pair
    expected = [hit.key for hit in index.query_key("9")]
    answers = []

    def ask():
        answers.extend([hit.key for hit in client.query_key("9")] for _ in range(20))
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 160
