"""rerank=True: a Hamming shortlist re-ordered by kept vectors, against brute force."""

import json

import numpy as np
import pytest

import hashret
from hashret.errors import KeyNotFoundError, UsageError


@pytest.fixture(scope="module")
def folder(vectors, tmp_path_factory):
    path = tmp_path_factory.mktemp("rerank") / "kept"
    items = [(f"v{i}", row, {"n": i}) for i, row in enumerate(vectors[:400])]
    hashret.create(path, items, 16, epochs=3, random_state=0, keep_vectors=True).close()
    return path


@pytest.fixture
def index(folder, tmp_path, vectors, monkeypatch):
    import shutil

    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 60)
    with hashret.open(shutil.copytree(folder, tmp_path / "kept")) as index:
        for first, last in ((400, 480), (480, 560), (560, 600)):
            index.add([(f"v{i}", vectors[i], {"n": i}) for i in range(first, last)])
        index.remove([f"v{i}" for i in range(0, 600, 9)])
        assert index.info()["segments"] == 2
        yield index


def brute_force(index, value, code, radius, limit, shortlist, where=None):
    """Key, Hamming distance and distance of the vectors, by the definition."""
    items = []
    for item in index.items(where=where):
        distance = int(np.unpackbits(item.code ^ code).sum())
        if radius is None or distance <= radius:
            items.append((distance, item.row, item.key))
    items.sort()
    items = items[:shortlist]
    kept = index.vectors([key for _, _, key in items]).astype(float)
    exact = [float(np.sqrt(((row - value) ** 2).sum())) for row in kept]
    found = sorted(
        zip(exact, items, strict=True), key=lambda pair: (round(pair[0], 9), pair[1][0], pair[1][1])
    )
    return [(key, distance, round(far, 9)) for far, (distance, _, key) in found[:limit]]


def answer(result):
    assert [hit.rank for hit in result] == list(range(1, len(result) + 1))
    return [(hit.key, hit.distance, round(hit.vector_distance, 9)) for hit in result]


@pytest.mark.parametrize(
    ("radius", "limit", "shortlist", "length"),
    [
        (None, 5, None, 100),
        (None, 30, None, 300),
        (None, 5, 5, 5),
        (None, 5, 37, 37),
        (3, 8, None, 100),
        (4, None, None, None),
        (5, None, 40, 40),
        (None, 5000, None, None),
    ],
)
@pytest.mark.parametrize("where", [None, "n > 400", "n in (10, 20, 590)"])
def test_rerank_is_what_brute_force_finds(index, vectors, radius, limit, shortlist, length, where):
    values = vectors[[4, 333]] + np.float32(0.05)
    asked = {"rerank": True, "shortlist": shortlist}
    found = index.query_many(values, radius, limit, where, **asked)
    for value, code, result in zip(values, index.encode(values), found, strict=True):
        expected = brute_force(index, value.astype(float), code, radius, limit, length, where)
        assert answer(result) == expected
        assert answer(index.query(value, radius, limit, where, **asked)) == expected


def test_it_changes_the_order_and_finds_what_the_codes_alone_do_not(index, vectors):
    plain, reranked = index.query(vectors[4]), index.query(vectors[4], rerank=True)
    assert {hit.key for hit in plain} != {hit.key for hit in reranked}
    far = [hit.vector_distance for hit in reranked]
    assert far == sorted(far)
    assert all(hit.vector_distance is None for hit in plain)
    assert not plain.reranked
    assert reranked.reranked
    assert "vector_distance" not in plain[0].to_dict()
    assert list(reranked[0].to_dict())[:4] == ["rank", "key", "distance", "vector_distance"]


def test_a_key_is_compared_by_its_kept_vector(index):
    result = index.query_key("v4", limit=6, rerank=True)
    own = index.vectors(["v4"])[0].astype(float)
    assert answer(result) == brute_force(index, own, index["v4"].code, None, 6, 100)
    assert (result[0].key, result[0].vector_distance) == ("v4", 0.0)
    with pytest.raises(KeyNotFoundError):
        index.query_key("nobody", rerank=True)


def test_certainty_can_choose_the_shortlist(index, vectors):
    value = vectors[4] + np.float32(0.05)
    shortlist = index.query(value, limit=12, order="certainty")
    reranked = index.query(value, limit=12, order="certainty", rerank=True, shortlist=12)
    assert {hit.key for hit in shortlist} == {hit.key for hit in reranked}


def test_rings_group_by_hamming_distance_still(index, vectors):
    result = index.query(vectors[4], limit=40, rerank=True)
    distances = [hit.distance for hit in result]
    assert distances != sorted(distances)
    assert list(result.rings) == sorted(set(distances))
    assert sum(map(len, result.rings.values())) == 40
    for distance, hits in result.rings.items():
        assert all(hit.distance == distance for hit in hits)
        assert [hit.rank for hit in hits] == sorted(hit.rank for hit in hits)


def test_a_narrower_radius_is_taken_only_from_an_answer_that_holds_it(index, vectors):
    whole = index.query(vectors[4], radius=4, limit=None, rerank=True)
    narrow = index.query(vectors[4], radius=2, limit=None, rerank=True)
    assert [hit.key for hit in whole.within(2)] == [hit.key for hit in narrow]
    assert whole.within(2).reranked
    cut = index.query(vectors[4], limit=10, rerank=True)
    with pytest.raises(UsageError, match="re-ranked by vectors and cut"):
        cut.within(2)
    # Cut by its shortlist, an answer without a limit holds no more of a radius than that.
    short = index.query(vectors[4], radius=4, limit=None, rerank=True, shortlist=len(narrow) - 1)
    assert len(short) == short.limit == len(narrow) - 1
    with pytest.raises(UsageError, match="re-ranked by vectors and cut"):
        short.within(2)


def test_a_long_shortlist_is_compared_in_blocks(index, vectors, monkeypatch):
    expected = answer(index.query(vectors[4], radius=16, limit=None, rerank=True))
    monkeypatch.setattr("hashret.index.reader.VALUES_AT_A_TIME", 7 * vectors.shape[1])
    lengths = []
    vectors_of = index.reader.vectors
    monkeypatch.setattr(
        index.reader, "vectors", lambda rows: (lengths.append(len(rows)), vectors_of(rows))[1]
    )
    assert answer(index.query(vectors[4], radius=16, limit=None, rerank=True)) == expected
    assert sum(lengths) == len(index)
    assert max(lengths) <= 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shortlist": 50}, "ask for both"),
        ({"rerank": True, "shortlist": 9}, "shortlist of 9 cannot give 10 hits"),
        ({"rerank": True, "shortlist": 0}, "shortlist must be"),
        ({"rerank": True, "shortlist": "all"}, "shortlist must be"),
        ({"rerank": True, "limit": 0}, "limit must be"),
        ({"rerank": True, "limit": "ten"}, "limit must be"),
        ({"rerank": True, "limit": None}, "radius, a limit, or both"),
    ],
)
def test_what_cannot_be_asked_is_refused(index, vectors, arguments, said):
    with pytest.raises(UsageError, match=said):
        index.query(vectors[4], **arguments)
    with pytest.raises(UsageError, match=said):
        index.query_key("v4", **arguments)


def test_codes_and_indexes_without_vectors_are_refused(index, vectors_index, vectors):
    with pytest.raises(UsageError, match="a code has none"):
        index.query_code(index["v4"].code, rerank=True)
    for ask in (
        lambda: vectors_index.query(vectors[4], rerank=True),
        lambda: vectors_index.query(vectors[4] * 1000, radius=0, rerank=True),
        lambda: vectors_index.query_key("4", rerank=True),
    ):
        with pytest.raises(UsageError, match="--keep-vectors"):
            ask()


def test_features_as_large_as_they_may_be_have_finite_distances(folder, tmp_path, vectors):
    import shutil

    with hashret.open(shutil.copytree(folder, tmp_path / "large")) as index:
        index.add([("large", np.full(12, 9e14, np.float32))])
        result = index.query(-np.full(12, 9e14, np.float32), limit=1000, rerank=True)
    far = {hit.key: hit.vector_distance for hit in result}
    assert far["large"] == pytest.approx(18e14 * np.sqrt(12), rel=1e-3)
    assert np.isfinite(list(far.values())).all()


def test_the_command_line_reranks(index, run, tmp_path, vectors):
    np.save(tmp_path / "one.npy", vectors[:5])
    asked = ("-i", index.path, "-k", 4, "--rerank", "--shortlist", 50)
    expected = index.query(vectors[4], limit=4, rerank=True, shortlist=50)
    found = run("query", "one.npy#4", *asked, "--json")
    assert json.loads(found.stdout) == expected.to_dicts(), found.stderr
    table = run("query", "--key", "v4", *asked, "--csv")
    assert table.stdout.splitlines()[0] == "rank,distance,vector_distance,similarity,key,n"
    refused = run("query", "--code", "ffff", *asked)
    assert refused.returncode == 2
    assert "a code has none" in refused.stderr
