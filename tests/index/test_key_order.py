"""order="key": hits at one distance by their keys, against brute force."""

import shutil
import threading

import numpy as np
import pytest

import hashret
from hashret.index import key_order
from hashret.index.key_order import KeyOrder

CENTRES = 8


@pytest.fixture(scope="module")
def codes():
    """3,000 codes of 16 bits: rings hold hundreds, and many codes come several times."""
    rng = np.random.default_rng(5)
    centres = rng.integers(256, size=(CENTRES, 2), dtype=np.uint8)
    flips = np.packbits(rng.random((3000, 16)) < 0.15, axis=1)
    return centres[rng.integers(CENTRES, size=3000)] ^ flips


@pytest.fixture(scope="module")
def keys():
    """In an order of their own, and of letters that UTF-16 would sort otherwise."""
    letters = ["a", "B", "é", "\uffee", "\U0001f600", "z "]
    names = [f"{letters[i % 6]}{i * 7919 % 3001}" for i in range(3000)]
    assert len(set(names)) == 3000
    return names


@pytest.fixture(scope="module")
def folder(codes, keys, tmp_path_factory):
    path = tmp_path_factory.mktemp("key-order") / "codes"
    fields = [{"n": i} for i in range(2000)]
    hashret.create_from_codes(path, codes[:2000], keys[:2000], fields).close()
    return path


@pytest.fixture
def index(folder, codes, keys, tmp_path, monkeypatch):
    """Several segments, a tail, deletions, and keys that moved to later rows."""
    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 300)
    with hashret.open(shutil.copytree(folder, tmp_path / "codes")) as index:
        for first, last in ((2000, 2500), (2500, 2900), (2900, 3000)):
            index.add_codes(codes[first:last], keys[first:last])
        index.remove(keys[::11])
        index.add_codes(codes[1:200], keys[:199])
        yield index


def brute_force(index, code, radius, limit, where=None):
    asked = np.unpackbits(code)
    found = [
        (int((np.unpackbits(item.code) != asked).sum()), item.key)
        for item in index.items(where=where)
    ]
    return sorted((d, key) for d, key in found if radius is None or d <= radius)[:limit]


def of(result):
    assert [hit.rank for hit in result] == list(range(1, len(result) + 1))
    return [(hit.distance, hit.key) for hit in result]


@pytest.mark.parametrize(
    ("radius", "limit", "where"),
    [
        (None, 1, None),
        (None, 10, None),
        (None, 700, None),
        (2, None, None),
        (3, 400, None),
        (0, 5, None),
        (None, 50, "n < 40"),
        (4, 30, "n % 3 = 0"),
        (None, 10_000, None),
    ],
)
def test_it_is_that_of_brute_force(index, codes, radius, limit, where):
    for code in codes[:40:4]:
        found = index.query_code(code, radius, limit, where, order="key")
        assert of(found) == brute_force(index, code, radius, limit, where)


def ranks_are_listed(index):
    listing = index.reader.key_order._listing
    if listing is not None:
        listing.join(60)
        assert index.reader.key_order._listing is None


def test_ranks_of_an_older_copy_are_not_taken(index, codes, monkeypatch):
    """They are listed beside the queries; meanwhile another copy may be put in its place."""
    order = index.reader.key_order
    go_on, plain = threading.Event(), key_order.ranks_by_key
    monkeypatch.setattr(key_order, "ranks_by_key", lambda store: (go_on.wait(60), plain(store))[1])
    for code in codes[:200]:
        index.query_code(code, None, 7, order="key")
        if order._listing is not None:
            break
    listing = order._listing
    order._generation += 1000  # as if what was there before had been newer
    assert of(index.query_code(codes[0], None, 7, order="key"))
    go_on.set()
    listing.join(60)
    assert not len(order._ranks)


def test_it_stays_so_whether_keys_are_read_or_their_ranks_known(index, codes, keys, monkeypatch):
    listed = []
    plain = KeyOrder._list
    monkeypatch.setattr(KeyOrder, "_list", lambda self, path: (listed.append(1), plain(self, path)))
    for turn, code in enumerate(codes[100:160]):
        assert of(index.query_code(code, None, 7, order="key")) == brute_force(index, code, None, 7)
        ranks_are_listed(index)
        if turn == 30:  # rows of which no rank is known
            assert len(index.reader.key_order._ranks) > 2000
            index.add_codes(codes[:300] ^ 1, [f"{key}!" for key in keys[:300]])
    assert listed


def test_certainty_comes_before_it(index):
    with pytest.raises(hashret.UsageError, match="logits"):
        index.query_key("B2918" if "B2918" in index else next(iter(index)), order="certainty")


def test_values_and_keys_are_answered_in_it_too(tmp_path):
    vectors = np.random.default_rng(0).integers(0, 2, size=(400, 4)).astype(np.float32)
    items = [(f"k{i * 7 % 400}", row) for i, row in enumerate(vectors)]
    with hashret.create(tmp_path / "v", items, 8, epochs=1, random_state=0) as index:
        for value in vectors[:5]:
            code = index.encode([value])[0]
            wanted = brute_force(index, code, None, 20)
            assert of(index.query(value, None, 20, order="key")) == wanted
            assert of(index.query_many([value], None, 20, order="key")[0]) == wanted
        code = index["k7"].code
        assert of(index.query_key("k7", None, 20, order="key")) == brute_force(
            index, code, None, 20
        )


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "3"])
def test_an_impossible_limit_is_refused_as_in_any_order(index, codes, limit):
    with pytest.raises(hashret.UsageError, match="limit"):
        index.query_code(codes[0], limit=limit, order="key")
