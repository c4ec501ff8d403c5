"""The planner's rules: rent before you buy, and no table where a scan is cheap."""

import sys

import pytest

from hashret.search import planner


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


def test_costs_grow_with_the_work():
    assert planner.scan_seconds(2_000_000, 1) > planner.scan_seconds(1_000_000, 1)
    assert planner.scan_seconds(1_000_000, 4) > planner.scan_seconds(1_000_000, 1)
    assert planner.probe_seconds(100, 0) < planner.probe_seconds(200, 0)
    assert planner.probe_seconds(100, 0) < planner.probe_seconds(100, 10)


def test_only_many_codes_get_a_table():
    assert not planner.worth_a_table(1000, 1)
    assert planner.worth_a_table(1_000_000, 1)
