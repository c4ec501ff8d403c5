"""The figures that plans are made with: measured once, kept, and ignored when in doubt."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from time import sleep

import pytest

from hashret.search import machine
from hashret.search.machine import DEFAULTS, Costs, costs

MEASURED = replace(DEFAULTS, per_query=123e-9, per_probe=(1e-9, 2e-9, 3e-9, 4e-9))


class _Measuring:
    """How the figures are measured, unless a test has it otherwise."""

    @staticmethod
    def measure():
        from hashret.search.measuring import measure_costs

        return measure_costs()


def ensure_measured() -> Costs:
    return machine.ensure_measured(lambda: _Measuring.measure())


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch) -> Path:
    """Where figures are kept, not there yet, in a process that knows none."""
    path = tmp_path / "of" / "user" / "costs.json"
    monkeypatch.setenv("HASHRET_COSTS", str(path))
    forget(monkeypatch)
    return path


@pytest.fixture
def measured(monkeypatch) -> list[Costs]:
    """Makes measuring instant; as long as how often it was done."""
    done = []

    def measure() -> Costs:
        sleep(0.01)
        done.append(MEASURED)
        return MEASURED

    monkeypatch.setattr(_Measuring, "measure", staticmethod(measure))
    return done


def forget(monkeypatch) -> None:
    monkeypatch.setattr(machine._Known, "costs", None)
    monkeypatch.setattr(machine._Known, "looked", False)


def test_what_is_measured_is_kept(file, measured, monkeypatch):
    assert costs() is DEFAULTS
    assert ensure_measured() == MEASURED
    assert costs() == MEASURED
    assert [path.name for path in file.parent.iterdir()] == ["costs.json"]
    forget(monkeypatch)
    assert costs() == MEASURED
    assert ensure_measured() == MEASURED
    assert len(measured) == 1


def test_typical_figures_are_given_without_measuring(file, measured):
    assert costs() is DEFAULTS
    assert not measured
    assert not file.parent.exists()


def test_what_another_process_measured_is_used(file, measured, monkeypatch):
    ensure_measured()
    forget(monkeypatch)
    kept = file.read_bytes()
    file.unlink()
    assert costs() is DEFAULTS
    file.write_bytes(kept)
    assert ensure_measured() == MEASURED
    assert len(measured) == 1


def test_threads_measure_once(measured):
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: ensure_measured(), range(8)))
    assert given == [MEASURED] * 8
    assert len(measured) == 1


def test_it_lies_where_the_user_keeps_caches(tmp_path, measured, monkeypatch):
    monkeypatch.delenv("HASHRET_COSTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    ensure_measured()
    assert (tmp_path / "caches" / "hashret" / "costs.json").is_file()

    forget(monkeypatch)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ensure_measured()
    assert (tmp_path / "home" / ".cache" / "hashret" / "costs.json").is_file()
    assert len(measured) == 2


def test_without_a_home_there_is_no_file(measured, monkeypatch):
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.delenv("HASHRET_COSTS")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert ensure_measured() == MEASURED


def test_an_empty_name_switches_it_off(tmp_path, measured, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HASHRET_COSTS", "")
    assert ensure_measured() == MEASURED
    assert costs() == MEASURED
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_figures_hold_in_memory(file, measured):
    file.parent.parent.parent.mkdir(exist_ok=True)
    file.parent.parent.write_text("a file where a folder is wanted")
    assert costs() is DEFAULTS
    assert ensure_measured() == MEASURED
    assert costs() == MEASURED


def test_without_memory_to_measure_typical_figures_hold(file, monkeypatch):
    def measure() -> Costs:
        raise MemoryError

    monkeypatch.setattr(_Measuring, "measure", staticmethod(measure))
    assert ensure_measured() is DEFAULTS
    assert not file.exists()


@pytest.mark.parametrize("fact", ["version", "processor", "cores", "numpy", "numba"])
def test_figures_of_another_machine_or_version_are_measured_again(
    file, measured, monkeypatch, fact
):
    ensure_measured()
    content = json.loads(file.read_text())
    content["machine"][fact] = "another"
    file.write_text(json.dumps(content))
    forget(monkeypatch)
    assert costs() is DEFAULTS
    ensure_measured()
    assert len(measured) == 2
    assert json.loads(file.read_text())["machine"][fact] != "another"


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b"7", b'"costs"', b"{}", b"[" * 100_000],
)
def test_a_damaged_file_is_as_good_as_none(file, measured, damage):
    file.parent.mkdir(parents=True)
    file.write_bytes(damage)
    assert costs() is DEFAULTS
    assert ensure_measured() == MEASURED


def test_a_file_cut_short_anywhere_is_as_good_as_none(file, measured, monkeypatch):
    ensure_measured()
    whole = file.read_bytes()
    for length in range(0, len(whole) - 1, 37):
        file.write_bytes(whole[:length])
        forget(monkeypatch)
        assert costs() is DEFAULTS


@pytest.mark.parametrize("name", [field.name for field in fields(Costs)])
@pytest.mark.parametrize(
    "value",
    [-1.0, 0, float("nan"), float("inf"), "1", None, [], {}, [[]], [1.0], [3, 2, 1, 0], 10**400],
)
def test_figures_without_sense_are_ignored(file, measured, monkeypatch, name, value):
    ensure_measured()
    content = json.loads(file.read_text())
    content["costs"][name] = value
    file.write_text(json.dumps(content))
    forget(monkeypatch)
    assert costs() is DEFAULTS


@pytest.mark.parametrize("name", [field.name for field in fields(Costs)])
def test_one_senseless_number_is_enough(file, measured, monkeypatch, name):
    ensure_measured()
    for value in (-1.0, float("nan"), float("inf"), 10**400, "1", None):
        content = json.loads(file.read_text())
        own = content["costs"][name]
        if not isinstance(own, list):
            continue
        row = own[-1] if isinstance(own[-1], list) else own
        row[-1] = value
        file.write_text(json.dumps(content))
        forget(monkeypatch)
        assert costs() is DEFAULTS


def test_missing_and_unknown_names_are_ignored(file, measured, monkeypatch):
    ensure_measured()
    content = json.loads(file.read_text())
    for changed in ({"per_moon": 1.0}, {}):
        own = {**content["costs"], **changed}
        own.pop("per_call")
        file.write_text(json.dumps({**content, "costs": own}))
        forget(monkeypatch)
        assert costs() is DEFAULTS


def test_costs_are_linear_in_the_logarithm_of_the_footprint():
    own = replace(
        DEFAULTS,
        footprints=(1e3, 1e5, 1e6),
        per_probe=(1.0, 3.0, 10.0),
        n_words=(1, 2, 4),
        per_near=((1.0, 3.0, 4.0), (2.0, 4.0, 6.0), (3.0, 8.0, 10.0)),
        per_far=((5.0, 6.0, 7.0), (5.0, 6.0, 7.0), (4.0, 6.0, 7.0)),
        scan_footprints=(1e4, 1e6),
        per_scanned_word=(2.0, 4.0),
    )
    assert own.at(1e3) == (1, 1, 5)
    assert own.at(1e4) == pytest.approx((2, 2, 5.5))
    assert own.at(1e5) == (3, 3, 6)
    assert own.at(10**5.5) == pytest.approx((6.5, 3.5, 6.5))
    # It is the same beyond the ends.
    assert own.at(0) == own.at(1) == own.at(1e3)
    assert own.at(1e12) == own.at(1e6) == (10, 4, 7)
    # It grows with the length of codes, and goes on to, but never falls where it is not known.
    assert own.at(1e5, 2) == (3, 4, 6)
    assert own.at(1e5, 3) == pytest.approx((3, 6, 6))
    assert own.at(1e5, 16) == pytest.approx((3, 32, 6))
    assert own.at(1e3, 16) == pytest.approx((1, 9, 4))
    assert own.scanned_word(1e5) == pytest.approx(3)
    assert own.scanned_word(0) == 2
    assert own.scanned_word(1e9) == 4


def test_one_footprint_and_one_length_are_enough():
    own = Costs(
        footprints=(1e6,),
        per_probe=(1.0,),
        n_words=(1,),
        per_near=((2.0,),),
        per_far=((3.0,),),
        per_query=1.0,
        per_call=1.0,
        scan_footprints=(1e6,),
        per_scanned_word=(4.0,),
        per_batched_word=1.0,
    )
    for footprint in (0, 1, 1e6, 1e9):
        assert own.at(footprint, 8) == (1, 2, 3)
        assert own.scanned_word(footprint) == 4
    assert Costs.from_json(json.loads(json.dumps(asdict(own)))) == own


@pytest.mark.parametrize(
    "changed",
    [
        {"footprints": ()},
        {"footprints": (1.0, 2.0, 3.0, 3.0)},
        {"footprints": (1.0, 2.0, 3.0)},
        {"footprints": (-1.0, 2.0, 3.0, 4.0)},
        {"footprints": (1.0, 2.0, 3.0, float("nan"))},
        {"per_near": DEFAULTS.per_near[:2]},
        {"n_words": (2, 3, 8)},
        {"n_words": ()},
        {"per_query": -1e-9},
        {"per_batched_word": float("nan")},
    ],
)
def test_no_figures_are_made_that_make_no_sense(changed):
    with pytest.raises(ValueError):
        replace(DEFAULTS, **changed)


def test_measuring_gives_figures_like_those_of_any_machine(monkeypatch, file):
    from hashret.search import measuring

    monkeypatch.setattr(measuring, "_PROBED", (1 << 14, 1 << 17, 1 << 20))
    monkeypatch.setattr(measuring, "_SCANNED", (1 << 15, 1 << 18))
    own = ensure_measured()
    assert own.footprints[0] < 1e6 < own.footprints[-1]
    for probe, near, far in (own.at(footprint) for footprint in own.footprints):
        assert 1e-10 < probe < 1e-6
        assert 1e-11 < near < 1e-6
        assert 1e-11 < far < 1e-6
    assert 1e-9 < own.per_query < 1e-4
    assert 1e-8 < own.per_call < 1e-2
    assert own.per_query < own.per_call
    assert 1e-12 < own.per_batched_word < 1e-7
    assert all(1e-12 < each < 1e-7 for each in own.per_scanned_word)
    # What a scan takes is known best: a word of it is far less than a code at random.
    assert own.per_scanned_word[0] < own.per_far[0][-1]
    # Eight words are more than one.
    assert sum(own.per_near[-1]) > sum(own.per_near[0])
    assert json.loads(file.read_text())["costs"]["per_call"] == own.per_call


def test_planning_imports_no_compiler(tmp_path):
    code = (
        "import sys; from hashret.search import machine; machine.costs().at(1e6, 2);"
        "assert 'numba' not in sys.modules"
    )
    environment = {**os.environ, "HASHRET_COSTS": str(tmp_path / "none")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
