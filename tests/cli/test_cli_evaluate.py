"""``hashret evaluate`` and ``hashret plot`` as they are used."""

import csv
import io
import json

import pytest
from click.testing import CliRunner
from conftest import write_idx
from PIL import Image

import hashret
from hashret.cli import cli
from hashret.errors import HashretError, InputError, UsageError
from hashret.evaluation import evaluate


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run a command in ``tmp_path``, without a process of its own; errors come as they are."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments):
        words = [str(argument) for argument in arguments]
        return CliRunner().invoke(cli, words, catch_exceptions=False)

    return start


def test_a_table_of_figures_on_stdout_and_the_rest_on_stderr(run, make_index):
    path = make_index("digits")
    out = run("evaluate", "-i", path, "--sample", 40)
    assert out.returncode == 0, out.stderr
    with hashret.open(path) as index:
        report = evaluate(index, sample=40)
    values = dict(line.split("  ", 1) for line in out.stdout.splitlines()[1:])
    assert float(values["mAP@1000"]) == pytest.approx(report.map_1000, abs=1e-4)
    assert values["queries"].strip().startswith("40 of its own items")
    assert "Reading" in out.stderr


def test_json_holds_everything(run, make_index, idx_files):
    out = run(
        "evaluate", "-i", make_index("digits"), "--queries", idx_files / "test-images-idx3-ubyte",
        "--json",
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    (report,) = json.loads(out.stdout)
    assert report["queries"] == 50
    assert len(report["radius"]) == 65
    assert report["reconstruction"]["codes"] > 0


def test_what_nothing_can_be_judged_by_is_one_message(run, make_index):
    out = run("evaluate", "-i", make_index("vectors"))
    assert out.returncode == 1
    assert out.stdout == ""
    assert "no labels" in out.stderr
    assert "Traceback" not in out.stderr


def test_an_html_report_with_numbers_beside_it(call, make_index, tmp_path):
    out = call("evaluate", "-i", make_index("digits"), "--sample", 30, "--html", "a.html", "--csv")
    assert out.exit_code == 0, out.stderr
    assert (tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "a-radius.csv").exists()
    assert next(csv.reader(io.StringIO(out.stdout))) == ["name", "value"]


@pytest.mark.parametrize(
    "arguments", [("evaluate", "--html", "there/a.html"), ("plot", "radius", "-o", "there/a.png")]
)
def test_a_file_that_cannot_be_written_is_told_before_any_work(
    arguments, call, make_index, monkeypatch
):
    monkeypatch.setattr("hashret.evaluation.evaluate", lambda *_, **__: pytest.fail("worked"))
    with pytest.raises(HashretError, match="there/a.* cannot be written.*no folder .*there"):
        call(*arguments, "-i", make_index("digits"))


@pytest.mark.parametrize("kind", ["radius", "buckets", "correlation", "reconstruction"])
def test_plots_of_an_index(kind, call, make_index, tmp_path):
    out = call("plot", kind, "-i", make_index("digits"), "-o", f"{kind}.png")
    assert out.exit_code == 0, out.stderr
    assert out.stdout == ""
    assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / f"{kind}.csv").read_text().splitlines()) > 1


def test_training_is_drawn_from_what_the_encoder_noted(call, make_index, tmp_path):
    path = make_index("digits")
    metadata = path / "encoder" / "encoder.json"
    values = json.loads(metadata.read_text())
    values["history"] = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]
    metadata.write_text(json.dumps(values))
    assert call("plot", "training", "-i", path, "-o", "t.svg").exit_code == 0
    assert (tmp_path / "t.csv").read_text().splitlines() == ["epoch,loss", "1,2.0", "2,1.0"]
    values["history"] = []
    metadata.write_text(json.dumps(values))
    with pytest.raises(InputError, match="no history"):
        call("plot", "training", "-i", path, "-o", "t.svg")


def test_bits_and_map_learn_from_a_source_without_an_index(call, digits, digit_labels, tmp_path):
    write_idx(tmp_path / "few-images-idx3-ubyte", digits[:120])
    write_idx(tmp_path / "few-labels-idx1-ubyte", digit_labels[:120])
    out = call("plot", "bits", "few-images-idx3-ubyte", "-o", "bits.png", "--bits", "8,16")
    assert out.exit_code == 0, out.stderr
    with (tmp_path / "bits.csv").open() as lines:
        rows = [(row["method"], row["bits"]) for row in csv.DictReader(lines)]
    assert rows == [(name, bits) for bits in ("8", "16") for name in ("hashret", "ITQ", "LSH")]
    out = call("plot", "map", "few-images-idx3-ubyte", "-o", "map.png", "--sample", 100)
    assert out.exit_code == 0, out.stderr
    with (tmp_path / "map.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 100
    assert {row["label"] for row in rows} == {str(digit) for digit in range(10)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["radius", "-o", "x.jpeg"], ".png"),
        (["radius", "-o", "x.png", "--bits", "8"], "belongs to the plot bits"),
        (["bits", "-o", "x.png", "--bits", "7"], "multiple of 8"),
        (["bits", "-o", "x.png", "--bits", "many"], "commas"),
        (["buckets", "there", "-o", "x.png"], "leave out SOURCE"),
    ],
)
def test_wrong_usage_is_told_before_any_work(arguments, message, call):
    with pytest.raises(HashretError, match=message) as error:
        call("plot", *arguments)
    assert error.value.exit_code == 2


# How a source is read


@pytest.fixture
def asked(tmp_path, digits, digit_labels):
    """A table of paths of images whose format and column must be told."""
    rows = []
    for n in range(20):
        Image.fromarray(digits[n]).save(tmp_path / f"{n}.png")
        rows.append({"text": "words", "file": f"{n}.png", "label": int(digit_labels[n])})
    path = tmp_path / "asked.data"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


TELL = ("--format", "jsonl", "--column", "file")


def test_queries_are_read_as_the_options_say(call, make_index, asked):
    out = call("evaluate", "-i", make_index("digits"), "--queries", asked, *TELL, "--json")
    (report,) = json.loads(out.stdout)
    assert report["queries"] == 20


def test_a_plot_reads_its_source_as_the_options_say(call, make_index, asked):
    out = call("plot", "radius", asked, *TELL, "-i", make_index("digits"), "-o", "radius.svg")
    assert out.exit_code == 0, out.stderr
    out = call("plot", "map", asked, *TELL, "-o", "map.svg")
    assert out.exit_code == 0, out.stderr


@pytest.mark.parametrize("words", [("evaluate",), ("plot", "radius", "-o", "r.svg"), ("outliers",)])
def test_options_of_a_source_are_refused_without_one(call, make_index, words):
    with pytest.raises(UsageError, match="--column and --encoding tell how a source is read"):
        call(*words, "-i", make_index("vectors"), "--column", "v", "--encoding", "latin-1")
