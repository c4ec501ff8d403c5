"""Plans follow from measured figures; what cannot be is refused with what limits it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hashret.cluster.figures import Figures, check, mean, slowest_of, tail
from hashret.cluster.planning import Goal, Node, amount, plan
from hashret.errors import HashretError, UsageError

ROOT = Path(__file__).parents[2]
GOAL = Goal(items=1e11, bits=64, qps=5000, p99=0.05)
CALM = replace(GOAL, p99=0.1, qps=500)
NODE = Node(memory=256e9, cores=32, disk=30e12)
FIGURES = Figures(
    code_bytes=20.0,
    item_bytes=200.0,
    search=((1e6, 0.0004, 0.0008), (1e9, 0.0006, 0.006)),
    one_codes=1e6,
    one_half=0.0015,
    one_most=0.003,
    front_seconds=0.0005,
    shard_seconds=0.0001,
    reader_seconds=0.0005,
    batch_seconds=30e-6,
    hit_seconds=8e-6,
    merge_seconds=30e-6,
)


def runs(shards=(1, 2, 4, 8)):
    """Figures as bench_cluster writes them, of a machine that the model describes exactly."""
    found = []
    for count in shards:
        single = 1.3 + 0.1 * count
        found.append(
            {
                "shards": count,
                "items_a_shard": 2e6 / count,
                "shard_alone": {"p50_ms": 0.4, "p99_ms": 0.4},
                "single": {"p50_ms": single, "p99_ms": single},
                "processor_seconds": {
                    "asking": 0.0003 + 0.0001 * count,
                    "reading": 0.0005 * count,
                },
                "steps": {"reach": 0.015, "answer": 0.1 / count, "hits": 15_000, "merge": 0.03},
                "batch": 1000,
            }
        )
    return {
        "machine": {"cores": 8},
        "fanout": found,
        "same": {"bytes_an_item": 200.0},
    }


SEARCH = json.loads((ROOT / "docs/search_figures.json").read_text())


def test_a_plan_does_what_is_wanted_with_room_for_everything():
    found = plan(GOAL, NODE, FIGURES)
    assert found.p50 <= found.p99 <= GOAL.p99
    assert found.node_memory <= 0.8 * NODE.memory
    assert found.node_disk <= NODE.disk
    assert found.busy <= 0.6
    assert found.shards * found.shard_codes == pytest.approx(GOAL.items)
    assert found.nodes * NODE.memory * 0.8 >= GOAL.items * FIGURES.code_bytes * 2
    assert sum(found.parts.values()) == pytest.approx(found.p99)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({}, {"node": replace(NODE, memory=64e9)}),
        ({}, {"node": replace(NODE, disk=1e12)}),
        ({}, {"goal": replace(CALM, items=1.5e11)}),
        ({}, {"goal": replace(CALM, replicas=3)}),
        ({}, {"goal": replace(CALM, qps=20_000)}),
    ],
    ids=["memory", "disk", "items", "replicas", "queries"],
)
def test_less_room_or_more_work_takes_more_nodes(less, more):
    usual = {"goal": CALM, "node": NODE, "figures": FIGURES}
    assert plan(**usual | less).nodes < plan(**usual | more).nodes


def test_a_goal_out_of_reach_is_refused_with_what_limits_it():
    with pytest.raises(HashretError, match=r"p99 of 1 ms is out of reach: the best is .* shards"):
        plan(replace(GOAL, p99=0.001), NODE, FIGURES)
    with pytest.raises(HashretError, match="No cluster of such nodes answers"):
        plan(replace(GOAL, qps=1e12), NODE, FIGURES)
    for wrong in ({"items": 0}, {"qps": -1}, {"p99": 0}, {"replicas": 0}, {"bits": 63}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            plan(replace(GOAL, **wrong), NODE, FIGURES)


def test_shards_larger_than_measured_are_planned_only_where_no_others_will_do():
    largest = FIGURES.search[-1][0]
    assert plan(replace(GOAL, p99=0.1), NODE, FIGURES).shard_codes <= largest
    slow = replace(FIGURES, shard_seconds=0.0006)
    few = plan(replace(GOAL, p99=0.08, qps=100), NODE, slow)
    assert largest < few.shard_codes < 2**32 - 1
    with pytest.raises(HashretError, match=r"about 1e\+14 items: there are 10,000 shards"):
        plan(replace(GOAL, items=1e14), NODE, FIGURES)


def test_tails_are_those_of_draws():
    rng = np.random.default_rng(0)
    draws = np.exp(rng.normal(size=(200_000, 8)) * 0.7)
    half, most = np.percentile(draws, [50, 99])
    assert tail(half, most, 0.9) == pytest.approx(np.percentile(draws, 90), rel=0.03)
    assert mean(half, most) == pytest.approx(draws.mean(), rel=0.03)
    slowest = draws.max(axis=1)
    assert slowest_of(half, most, 8, 0.99) == pytest.approx(np.percentile(slowest, 99), rel=0.05)
    assert slowest_of(half, most, 8, 0.5) == pytest.approx(np.median(slowest), rel=0.03)


def test_the_model_finds_again_what_it_was_measured_on():
    cluster = runs()
    figures = Figures.measured(cluster, SEARCH, 64)
    assert figures.front_seconds == pytest.approx(0.0004)
    assert figures.shard_seconds == pytest.approx(0.0001)
    for one in check(cluster, figures):
        assert abs(one.error) < 1e-6, one


def test_where_processors_are_few_shards_wait_for_each_other():
    cluster = runs()
    cluster["machine"]["cores"] = 2
    figures = Figures.measured(cluster, SEARCH, 64)
    last = [one.predicted for one in check(cluster, figures) if one.shards == 8]
    assert last == pytest.approx([0.0014 + 7 * (0.0001 + 0.0005) / 2] * 2)


def test_a_larger_shard_takes_as_much_longer_as_its_search_does():
    assert FIGURES.call(1e6) == pytest.approx((0.0015, 0.003))
    assert FIGURES.call(1e9) == pytest.approx((0.0017, 0.0082))
    assert FIGURES.read(1e6) == pytest.approx(0.0005)
    assert FIGURES.read(1e9) > 0.0007


def test_what_shards_take_lies_between_what_was_measured():
    assert FIGURES.shard(1e5) == FIGURES.shard(1e6) == (0.0004, 0.0008)
    half, most = FIGURES.shard(10**7.5)
    assert 0.0004 < half < 0.0006
    assert 0.0008 < most < 0.006
    assert FIGURES.shard(1e10)[1] > 0.006


def test_figures_that_are_not_whole_are_refused():
    cluster = runs()
    del cluster["same"]
    with pytest.raises(UsageError, match="run scripts/bench_cluster"):
        Figures.measured(cluster, SEARCH, 64)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("256GB", "bytes", 256e9),
        ("1.5 TiB", "bytes", 1.5 * 2**40),
        ("50ms", "seconds", 0.05),
        ("2s", "seconds", 2),
        ("1e11", "number", 1e11),
        ("100 M", "number", 1e8),
        ("5,000", "number", 5000),
    ],
)
def test_amounts_are_read_with_their_units(text, kind, value):
    assert amount(text, kind) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("50", "seconds"), ("5GBs", "bytes"), ("-1", "number"), ("0", "number"), ("", "bytes"),
     ("inf", "number"), ("nan", "number"), ("1e999", "number"), ("x ms", "seconds")],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text, kind):
    with pytest.raises(UsageError, match=f"Expected {kind} above 0"):
        amount(text, kind)


def test_the_script_prints_a_plan_with_all_that_is_assumed(tmp_path):
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(runs()))

    def planned(*more):
        return subprocess.run(
            [sys.executable, ROOT / "scripts/plan_cluster", "--figures", file, *more],
            capture_output=True,
            text=True,
            check=False,
        )

    done = planned("--items", "1e9", "--p99", "500ms")
    assert done.returncode == 0, done.stderr
    assert "planned, not measured" in done.stdout
    assert "Assumed:" in done.stdout
    assert "| 8 | p99 | 2.10 ms | 2.10 ms | +0% |" in planned("--check").stdout
    wrong = planned("--p99", "1us")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("A p99 of 0.001 ms is out of reach")
