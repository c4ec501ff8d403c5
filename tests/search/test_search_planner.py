"""What is expected to take less time is done, and what proves to take more is given up."""

import subprocess
import sys
from dataclasses import dataclass
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest
from search_oracle import answer, answers, brute_force, costs, make_codes, make_layout

from hashret.search import CodeIndex, engine, machine, planner, search_many
from hashret.search.building import build_segment


@pytest.fixture(autouse=True)
def tables_for_all(monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", 0)


@dataclass
class Prices:
    engine: str
    patch: pytest.MonkeyPatch

    def set(self, probe=1e-12, code=1e-12, word=1.0):
        """Seconds: a bucket, a code in it, and a scanned word."""
        figures = costs(probe, code, word)
        self.patch.setattr(machine, "costs", lambda: figures)
        self.patch.setattr(planner, "SHELL_SECONDS", 1e-12)
        self.patch.setattr(planner, "PROBE_SECONDS", probe)
        self.patch.setattr(planner, "CANDIDATE_SECONDS", code)
        self.patch.setattr(
            planner, "scan_seconds", lambda n, n_words, n_queries=1: word * n * n_words * n_queries
        )


@pytest.fixture(params=["numpy", "compiled"])
def prices(request, monkeypatch):
    engine.use(request.param)
    yield Prices(request.param, monkeypatch)
    engine.use(None)


QUESTIONS = [(0, None), (3, None), (None, 4), (3, 2)]


@pytest.mark.parametrize(("radius", "limit"), QUESTIONS)
def test_tables_are_probed_where_that_is_cheap(prices, radius, limit):
    prices.set(probe=1e-12, code=1e-12, word=1.0)
    codes = make_codes("uniform", 3000, 64)
    for query in (codes[7], codes[7] ^ 5):
        found = CodeIndex.build(codes).search(query, radius, limit)
        assert answer(found) == brute_force(codes, query, radius, limit)
        assert found.stats.plan.startswith("tables, radius 0")
        assert "scan" not in found.stats.plan
        assert found.stats.probes > 0
        assert found.stats.estimated_seconds > 0


@pytest.mark.parametrize(("radius", "limit"), QUESTIONS)
def test_all_is_scanned_where_that_is_cheap(prices, radius, limit):
    prices.set(probe=1.0, code=1.0, word=1e-12)
    codes = make_codes("uniform", 3000, 64)
    for query in (codes[7], codes[7] ^ 5):
        found = CodeIndex.build(codes).search(query, radius, limit)
        assert answer(found) == brute_force(codes, query, radius, limit)
        assert (found.stats.plan, found.stats.probes) == ("scan", 0)
        assert found.stats.candidates == 3000
        assert found.stats.estimated_seconds > 0


def test_the_price_of_a_single_bucket_decides(prices):
    """Radius 0 takes one bucket, so there is nothing to guess."""
    codes = make_codes("uniform", 2000, 16)
    layout = make_layout(range(16), [[8]])
    (size,) = (np.count_nonzero(codes[:, 0] == codes[0, 0]),)
    for probe, code, word in [(1e-6, 1e-6, 1e-6), (1e-3, 1e-9, 1e-6), (1e-9, 1e-4, 1e-6)]:
        prices.set(probe, code, word)
        index = CodeIndex(build_segment(codes, layout=layout))
        stats = index.search(codes[0], 0).stats
        cheap = probe + size * code < 2000 * word * planner.MARGIN
        assert stats.plan == ("tables, radius 0" if cheap else "scan")
        assert stats.candidates == (size if cheap else 2000)
        expected = probe + size * code if cheap else 2000 * word
        assert expected * 0.99 < stats.estimated_seconds < expected * 1.3


def test_each_query_of_a_batch_goes_its_own_way(prices):
    prices.set(probe=1e-8, code=5e-8, word=1e-8)
    codes = make_codes("uniform", 6000, 64)
    codes[::2] = codes[0]
    queries = np.concatenate([codes[1:40], codes[:3], codes[41:60]])
    index = CodeIndex.build(codes)
    for radius, limit in [(0, None), (1, None), (None, 1), (1, 5)]:
        found = search_many([index], queries, radius, limit)
        expected = [brute_force(codes, query, radius, limit) for query in queries]
        assert answers(found) == expected
        plans = [one.stats.plan for one in found]
        crowded = [np.array_equal(query, codes[0]) for query in queries]
        assert all("scan" in plan for plan, own in zip(plans, crowded, strict=True) if own)
        assert all("scan" not in plan for plan, own in zip(plans, crowded, strict=True) if not own)


def ambush(n, distance_from_code=1):
    """Codes that are all near each other, and a query whose own buckets are empty.

    Buckets next to the query's look as full as buckets are on average, but one has all codes.
    """
    layout = make_layout(range(64), [[14, 14, 14, 14]])
    codes = np.zeros((n, 8), dtype=np.uint8)
    codes[:, 7] = np.arange(n) % 256  # the bits that are in no part
    bits = np.zeros(64, dtype=np.uint8)
    for part in range(4):
        bits[14 * part + part : 14 * part + part + distance_from_code] = 1
    return CodeIndex(build_segment(codes, layout=layout)), codes, np.packbits(bits)


def test_a_query_that_meets_more_than_was_expected_is_left_to_a_scan(prices):
    prices.set(probe=1e-9, code=1e-8, word=1e-8)
    index, codes, query = ambush(20_000)
    found = index.search(query, 7)
    assert answer(found) == brute_force(codes, query, 7)
    assert len(found) > 0
    assert found.stats.plan.endswith("scan")
    assert found.stats.probes > 0
    assert found.stats.candidates >= 20_000
    # Others of the batch are none the worse.
    queries = np.stack([query ^ 255, query, query ^ 15, query])
    many = search_many([index], queries, 7)
    assert answers(many) == [brute_force(codes, one, 7) for one in queries]


def test_nearest_that_are_far_are_left_to_a_scan(prices):
    prices.set(probe=1e-8, code=1e-8, word=2e-9)
    codes = make_codes("uniform", 4000, 64)
    for limit in (1, 20):
        query = make_codes("uniform", 1, 64, seed=77)[0]
        found = CodeIndex.build(codes).search(query, limit=limit)
        assert answer(found) == brute_force(codes, query, None, limit)
        assert found.stats.plan.startswith("tables, radius 0")
        assert found.stats.plan.endswith(", then scan")
        assert found.stats.probes > 0
        assert found.stats.candidates > 4000


def test_hits_of_the_tables_come_once_where_a_scan_follows(prices):
    """Codes that were met before the scan, by several parts, are not found again."""
    prices.set(probe=1e-8, code=1e-8, word=1e-8)
    codes = make_codes("uniform", 4000, 64)
    codes[100:130] = codes[0] ^ np.packbits(np.eye(64, dtype=np.uint8)[:30], axis=1)
    index = CodeIndex.build(codes)
    queries = np.stack([codes[0], codes[0] ^ 1, codes[110]])
    for limit in (5, 31, 40):
        found = search_many([index], queries, limit=limit)
        assert answers(found) == [brute_force(codes, query, None, limit) for query in queries]
    assert found[0].stats.plan.endswith(", then scan")


def test_plans_can_be_forced(prices):
    codes = make_codes("uniform", 1000, 64)
    prices.set(probe=1.0, code=1.0, word=1e-12)
    try:
        planner.force("tables")
        stats = CodeIndex.build(codes).search(codes[0], 2).stats
        assert stats.plan == "tables, radius 0 to 2"
        assert stats.probes >= 3
        prices.set(word=1.0)
        planner.force("scan")
        assert CodeIndex.build(codes).search(codes[0], 2).stats.plan == "scan"
    finally:
        planner.force(None)
    assert CodeIndex.build(codes).search(codes[0], 2).stats.plan == "tables, radius 0 to 2"


def test_what_has_no_tables_is_scanned(prices, monkeypatch):
    monkeypatch.setattr(planner, "TABLE_FROM_WORDS", 10_000)
    prices.set(word=1.0)
    codes = make_codes("uniform", 999, 640)
    try:
        for plan in ("tables", None):
            planner.force(plan)
            assert CodeIndex.build(codes).search(codes[0], 2).stats.plan == "scan"
    finally:
        planner.force(None)


@pytest.mark.parametrize(("n", "n_bits"), [(1 << 15, 64), (1 << 15, 32), (1 << 14, 128)])
def test_only_many_codes_get_tables(monkeypatch, n, n_bits):
    monkeypatch.undo()
    codes = make_codes("uniform", n, n_bits)
    assert len(CodeIndex.build(codes).segment.offsets) > 0
    assert len(CodeIndex.build(codes[1:]).segment.offsets) == 0


def test_a_search_of_many_codes_plans_tables_by_itself(monkeypatch):
    monkeypatch.undo()
    codes = make_codes("uniform", 300_000, 64)
    index = CodeIndex.build(codes)
    near = codes[1234] ^ np.array([0, 0, 0, 1, 0, 0, 0, 0], dtype=np.uint8)
    for name, questions in {
        "numpy": [(0, None), (1, None)],
        "compiled": [(0, None), (1, None), (2, None), (None, 1)],
        None: [(0, None), (1, None)],
    }.items():
        engine.use(name)
        try:
            for radius, limit in questions:
                found = index.search(near, radius, limit)
                assert answer(found) == brute_force(codes, near, radius, limit)
                assert found.stats.plan.startswith("tables, radius 0")
                assert found.stats.candidates < 1000
            found = index.search(near, radius=40)
            assert answer(found) == brute_force(codes, near, 40)
            assert found.stats.plan == "scan"
        finally:
            engine.use(None)


@pytest.mark.parametrize("width", [1, 2, 5, 8, 13, 16])
def test_each_bucket_of_a_ball_is_looked_up_once(prices, width):
    """With all codes of 16 bits, the codes that are met tell which buckets were."""
    numbers = np.arange(1 << 16)
    codes = np.stack([numbers >> 8, numbers & 255], axis=1).astype(np.uint8)
    index = CodeIndex(build_segment(codes, layout=make_layout(range(16), [[width]])))
    query = codes[0b1011_0010_0110_0101]
    planner.force("tables")
    try:
        for radius in (0, 1, 2, 3, width - 1, width, width + 1, 16):
            ball = sum(comb(width, flips) for flips in range(min(radius, width) + 1))
            found = index.search(query, radius)
            assert found.stats.probes == ball
            assert found.stats.candidates == ball << 16 - width
            assert len(found) == sum(comb(16, flips) for flips in range(min(radius, 16) + 1))
            assert len(set(found.rows.tolist())) == len(found)
    finally:
        planner.force(None)


def test_parts_share_a_radius(prices):
    """To reach r bits takes r + 1 shells; one of the nearest part costs the least at first."""
    prices.set(probe=1e-9, code=1e-12, word=1.0)
    codes = make_codes("uniform", 2000, 64)
    index = CodeIndex(build_segment(codes, layout=make_layout(range(64), [[10, 10, 10, 10]])))
    for radius in range(4):
        assert index.search(codes[3], radius).stats.probes == radius + 1
    assert index.search(codes[3], 4).stats.probes == 4 + 10
    assert index.search(codes[3], 7).stats.probes == 4 * 11
    assert index.search(codes[3], 8).stats.probes == 4 * 11 + 45


@pytest.fixture
def without_faiss(monkeypatch):
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    monkeypatch.setattr(planner._NumpyScans, "lost_seconds", 0.0)


def test_one_scan_does_not_pay_for_the_import_of_faiss(without_faiss):
    assert not planner.scans_with_faiss(1_000_000, 1, 1)
    assert planner.scans_with_faiss(1_000_000, 1, 10_000)


def test_many_scans_pay_for_it_in_the_end(without_faiss):
    scans = 0
    while not planner.scans_with_faiss(1_000_000, 4, 1):
        planner.count_numpy_scan(1_000_000, 4, 1)
        scans += 1
    lost = planner._NumpyScans.lost_seconds
    assert scans > 1
    assert lost <= planner.FAISS_IMPORT_SECONDS


def test_tiny_scans_stay_with_numpy(without_faiss, monkeypatch):
    for _ in range(1000):
        planner.count_numpy_scan(100, 1, 1)
    assert not planner.scans_with_faiss(100, 1, 1)
    monkeypatch.setitem(sys.modules, "faiss", object())
    assert not planner.scans_with_faiss(100, 1, 1)
    assert planner.scans_with_faiss(1_000_000, 4, 1)


def test_costs_of_a_scan_grow_with_the_work():
    assert planner.scan_seconds(2_000_000, 1) > planner.scan_seconds(1_000_000, 1)
    assert planner.scan_seconds(1_000_000, 4) > planner.scan_seconds(1_000_000, 1)
    assert planner.scan_seconds(1_000_000, 1, 9) > planner.scan_seconds(1_000_000, 1)


KERNELS = "hashret.search.compiled"
SEGMENTS = [SimpleNamespace(kind="uint64-uint32")]


@pytest.fixture
def choices(monkeypatch, tmp_path):
    """The names of modules that the engine imports, in a process that has searched nothing yet."""
    imported = []
    monkeypatch.setattr(engine._State, "spent", 0.0)
    monkeypatch.setattr(engine._State, "kernels", None)
    monkeypatch.setattr(engine._State, "ready", set())
    monkeypatch.setattr(engine._State, "broken", False)
    monkeypatch.setattr(engine, "import_module", lambda name: imported.append(name) or name)
    monkeypatch.setattr(engine, "IMPORT_SECONDS", 1.0)
    monkeypatch.setattr(engine, "COMPILE_SECONDS", 50.0)
    monkeypatch.setattr(engine, "QUERY_SECONDS", 0.01)
    monkeypatch.setenv("HASHRET_COSTS", str(tmp_path / "costs.json"))
    engine.answered("within", SEGMENTS)  # in another process, before
    engine._State.ready.clear()
    return imported


def chosen(n_queries=1, task="within"):
    return engine.compiled(task, n_queries, SEGMENTS)


def test_numpy_answers_until_it_took_as_long_as_the_import(choices):
    for _ in range(9):
        assert chosen() is None
        engine.count(0.1)
    assert choices == []
    engine.count(0.1)
    assert chosen() == KERNELS
    assert choices == [KERNELS]


def test_a_large_batch_pays_for_the_import_at_once(choices):
    assert chosen(99) is None
    assert chosen(100) == KERNELS


def test_kernels_that_were_never_compiled_here_take_more_to_pay_for(choices):
    assert chosen(5099, "nearest") is None
    engine.count(50.0)
    assert chosen(1, "nearest") is None
    engine.count(1.0)
    assert chosen(1, "nearest") == KERNELS
    engine.answered("nearest", SEGMENTS)
    assert engine._State.spent < 1
    assert chosen(1, "nearest") == KERNELS  # for good
    other = [SimpleNamespace(kind="uint32-uint32")]
    assert engine.compiled("nearest", 1, other) is None  # but for other codes not yet


def test_a_change_of_a_kernel_asks_for_compiling_again(choices, monkeypatch):
    monkeypatch.setattr(engine._Stamp, "value", "another")
    assert chosen(100) is None


def test_a_compiler_that_does_not_work_leaves_it_to_numpy(choices, monkeypatch, caplog):
    def fail(name):
        raise ImportError("no such thing")

    monkeypatch.setattr(engine, "import_module", fail)
    engine.count(100.0)
    assert chosen() is None
    assert "NumPy answers" in caplog.text
    caplog.clear()
    assert chosen() is None
    assert caplog.text == ""


def test_engines_can_be_forced(choices):
    try:
        engine.use("compiled")
        assert chosen() == KERNELS
        engine.use("numpy")
        assert chosen(10**6) is None
    finally:
        engine.use(None)


def test_a_process_changes_to_compiled_kernels_on_its_way():
    program = """
import sys
import numpy as np
from hashret.search import CodeIndex, engine
engine.IMPORT_SECONDS = engine.COMPILE_SECONDS = 0.05
codes = np.random.default_rng(0).integers(0, 256, (5000, 8), dtype=np.uint8)
index = CodeIndex.build(codes)
before = after = 0
for _ in range(100_000):
    assert index.within(codes[9], 0)[1].tolist() == [9]
    before += "numba" not in sys.modules
    assert index.search(codes[8], limit=1).rows.tolist() == [8]
    after += "numba" in sys.modules
    if after > 100:
        break
print(before > 0, after > 100)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.split() == ["True", "True"], run.stderr
