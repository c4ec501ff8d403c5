"""Inputs that were left out: few are named, all are counted."""

import json

import pytest

from hashret.cli.telling import MOST_FOR_ONE_REASON
from hashret.index.encoding import AddReport
from hashret.sources import Skipped, SkippedInputs, open_source
from hashret.sources.skipped import MOST_NAMED


def inputs(n):
    return [Skipped(f"line {number}", "it is not JSON") for number in range(n)]


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"text": "some words"}) + "\n" + "{bad\n" * (MOST_NAMED + 5))
    return path


def test_only_the_first_are_named_and_all_are_counted():
    several = SkippedInputs(inputs(MOST_NAMED + 3))
    assert (list(several), several.unnamed) == (inputs(MOST_NAMED), 3)
    several += SkippedInputs(inputs(MOST_NAMED + 1))
    assert (len(several), several.total) == (MOST_NAMED, 2 * MOST_NAMED + 4)
    few = SkippedInputs(inputs(2))
    few.extend(several)
    assert (len(few), few.total) == (MOST_NAMED, 2 * MOST_NAMED + 6)


def test_a_file_of_bad_lines_names_as_many_as_fit(broken):
    source = open_source(broken)
    assert len(list(source)) == 1
    assert (len(source.skipped), source.skipped.total) == (MOST_NAMED, MOST_NAMED + 5)
    assert len(list(source)) == 1
    assert source.skipped.total == MOST_NAMED + 5


def test_reports_and_several_sources_count_them_too(broken, tmp_path):
    other = tmp_path / "y.jsonl"
    other.write_bytes(broken.read_bytes())
    source = open_source([broken, other], key_prefix="{stem}:")
    assert len(list(source)) == 2
    assert source.skipped.total == 2 * MOST_NAMED + 10
    reports = [AddReport(skipped=SkippedInputs(inputs(MOST_NAMED + 1))) for _ in range(2)]
    assert AddReport.sum(reports).skipped.total == 2 * MOST_NAMED + 2


def test_the_shell_tells_how_many_more_there_were(run, make_index, vectors, tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text(json.dumps({"v": vectors[0].tolist()}) + "\n" + "{bad\n" * (MOST_NAMED + 5))
    out = run("index", path, "-i", make_index("vectors"), "--replace", "--strict")
    assert out.returncode == 3
    assert f"Skipped {MOST_NAMED - MOST_FOR_ONE_REASON} more: it is not JSON" in out.stderr
    assert "Skipped 5 more" in out.stderr
    assert f"{MOST_NAMED + 5:,} skipped" in out.stderr
