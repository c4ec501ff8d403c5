"""order="certainty": ties by the certainty of the flipped bits, against brute force."""

import math

import numpy as np
import pytest

import hashret
from hashret.errors import UsageError
from hashret.index.ordering import flip_costs

N_BITS = 16


@pytest.fixture(scope="module")
def clouds():
    """1,500 vectors of 6 dimensions: with 16 bits many share a code, and rings are large."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(8, 6))
    return (centres[rng.integers(8, size=1500)] + rng.normal(scale=0.4, size=(1500, 6))).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def folder(clouds, tmp_path_factory):
    path = tmp_path_factory.mktemp("order") / "clouds"
    options = {"epochs": 3, "random_state": 0}
    items = [(f"v{i}", row, {"n": i}) for i, row in enumerate(clouds[:1000])]
    hashret.create(path, items, N_BITS, **options).close()
    return path


@pytest.fixture
def index(folder, tmp_path, clouds, monkeypatch):
    """Several segments, a tail, and deletions in all of them."""
    import shutil

    monkeypatch.setattr("hashret.index.snapshot.SEGMENT_ROWS", 120)
    with hashret.open(shutil.copytree(folder, tmp_path / "clouds")) as index:
        for first, last in ((1000, 1200), (1200, 1400), (1400, 1500)):
            index.add([(f"v{i}", clouds[i], {"n": i}) for i in range(first, last)])
        index.remove([f"v{i}" for i in range(0, 1500, 7)])
        yield index


def brute_force(index, value, radius, limit, where=None):
    """Keys and distances by the definition, one item at a time."""
    logits = index.encoder.runtime.logits(value[None])[0].astype(float)
    bits = logits > 0
    found = []
    for item in index.items(where=where):
        differs = np.unpackbits(item.code).astype(bool) != bits
        distance = int(differs.sum())
        if radius is None or distance <= radius:
            cost = math.fsum(abs(logit) for logit in logits[differs])
            found.append((distance, cost, item.row, item.key))
    found.sort()
    return [(key, distance) for distance, _, _, key in found[:limit]]


def answer(result):
    assert [hit.rank for hit in result] == list(range(1, len(result) + 1))
    return [(hit.key, hit.distance) for hit in result]


def test_the_data_has_segments_a_tail_and_rings_that_matter(index, clouds):
    info = index.info()
    assert (info["segments"], info["rows_not_in_a_segment"]) == (2, 85)
    by_row = index.query(clouds[3], limit=20)
    by_certainty = index.query(clouds[3], limit=20, order="certainty")
    assert [hit.key for hit in by_row] != [hit.key for hit in by_certainty]
    assert {hit.key for hit in by_row} != {hit.key for hit in by_certainty}  # the last ring was cut
    assert [hit.distance for hit in by_row] == [hit.distance for hit in by_certainty]


@pytest.mark.parametrize(
    ("radius", "limit"),
    [(None, 1), (None, 7), (None, 150), (None, 5000), (2, 30), (4, None), (0, 5)],
)
@pytest.mark.parametrize("where", [None, "n % 3 = 1", "n < 4"])
def test_certainty_is_what_brute_force_finds(index, clouds, radius, limit, where):
    values = clouds[[3, 500, 1250]] + np.float32(0.01)
    found = index.query_many(values, radius, limit, where, order="certainty")
    for value, result in zip(values, found, strict=True):
        assert answer(result) == brute_force(index, value, radius, limit, where)
        assert (result.radius, result.limit) == (radius, limit)


def test_many_queries_are_answered_as_each_alone(index, clouds, monkeypatch):
    monkeypatch.setattr("hashret.index.reader.RINGS_AT_A_TIME", 4)
    together = index.query_many(clouds[:11], limit=9, order="certainty")
    alone = [index.query(value, limit=9, order="certainty") for value in clouds[:11]]
    assert [answer(one) for one in together] == [answer(one) for one in alone]
    assert index.query_many([], order="certainty") == []


def test_a_ring_that_was_cut_is_searched_whole_and_the_stats_say_so(index, clouds):
    cut = index.query(clouds[3], limit=20, order="certainty")
    assert "last ring whole" in cut.stats.plan
    assert cut.stats.candidates > index.query(clouds[3], limit=20).stats.candidates
    whole = index.query(clouds[3], radius=3, limit=None, order="certainty")
    assert "last ring" not in whole.stats.plan


def test_a_narrower_radius_keeps_the_order(index, clouds):
    result = index.query(clouds[3], radius=4, limit=None, order="certainty")
    assert answer(result.within(2)) == brute_force(index, clouds[3], 2, None)
    assert list(result.rings) == sorted(result.rings)


def test_damaged_segments_are_answered_for(index, clouds):
    expected = brute_force(index, clouds[3], None, 40)
    for path in (index.path / "segments").rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:50])
    with hashret.open(index.path) as opened:
        assert answer(opened.query(clouds[3], limit=40, order="certainty")) == expected


def test_flip_costs_are_sums_of_certainties_and_equal_for_equal_codes():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=64).astype(np.float32) * np.float32(3)
    codes = rng.integers(0, 256, size=(500, 8), dtype=np.uint8)
    codes[250:] = codes[:250]
    code = np.packbits(logits > 0)
    differs = np.unpackbits(codes ^ code, axis=1).astype(bool)
    found = flip_costs(code, codes, logits)
    np.testing.assert_allclose(found, [np.abs(logits[row]).sum() for row in differs], rtol=1e-6)
    np.testing.assert_array_equal(found[250:], found[:250])
    assert flip_costs(code, code[None], logits).tolist() == [0.0]
    assert flip_costs(code, codes[:0], logits).shape == (0,)


def test_only_a_value_has_logits(index, clouds):
    code = index["v3"].code
    for ask, what in (
        (lambda: index.query_key("v3", order="certainty"), "a key"),
        (lambda: index.query_code(code, order="certainty"), "a code"),
    ):
        with pytest.raises(UsageError, match=f"logits of a value, and {what} has none"):
            ask()
    assert index.query_key("v3", order="row")[0].distance == 0
    with pytest.raises(UsageError, match="row, key, certainty, not 'best'"):
        index.query(clouds[0], order="best")


def test_the_command_line_orders_by_certainty(index, run, tmp_path, clouds):
    np.save(tmp_path / "one.npy", clouds[:2])
    asked = ("-i", index.path, "-k", 25, "--order", "certainty")
    expected = [key for key, _ in brute_force(index, clouds[1], None, 25)]
    found = run("query", "one.npy#1", *asked, "--paths")
    assert found.stdout.split() == expected, found.stderr
    lines = run("query", "-", *asked, "--paths", stdin="one.npy#1\n")
    assert lines.stdout.split() == expected, lines.stderr
    for option in (("--key", "v3"), ("--code", index["v3"].code.tobytes().hex())):
        refused = run("query", *option, *asked)
        assert refused.returncode == 2
        assert "logits" in refused.stderr
    named = run("query", "-", *asked, stdin="v3\n")
    assert named.returncode == 1
    assert "No such file" in named.stderr
