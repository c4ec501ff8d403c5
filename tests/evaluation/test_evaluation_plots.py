"""Plots show what they are given, say it beside them as CSV, and fit a page that needs nothing."""

import csv
import html
import json
import re
import sys
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import hashret
from hashret.codes import pack
from hashret.errors import HashretError, InputError, UsageError
from hashret.evaluation import code_histograms, evaluate, radius_curve
from hashret.evaluation.drawing import check_format, inline_svg, require_matplotlib, save
from hashret.evaluation.html_report import write_html_report
from hashret.evaluation.item_plots import map_plot, reconstruction_plot
from hashret.evaluation.pictures import code_plots, pictures_of_items, training_of
from hashret.evaluation.plots import (
    bits_plot,
    buckets_plot,
    correlation_plot,
    radius_plot,
    training_plot,
)

SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture(scope="module")
def codes():
    return pack(np.random.default_rng(0).random((200, 16)) < 0.15)


@pytest.fixture(scope="module")
def curve(codes):
    labels = np.arange(200) % 4
    return radius_curve(code_histograms(codes[:20], codes, labels[:20], labels))


def numbers(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_a_plot_is_a_file_with_its_numbers_beside_it(suffix, codes, tmp_path):
    beside = save(buckets_plot(codes), tmp_path / f"sizes{suffix}")
    assert (tmp_path / f"sizes{suffix}").read_bytes().startswith(SIGNATURES[suffix])
    assert beside == tmp_path / "sizes.csv"
    rows = numbers(beside)
    assert sum(int(row["items"]) for row in rows) == 200
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1)
    sizes = np.unique(codes, axis=0, return_counts=True)[1]
    for row in rows:
        inside = (sizes >= int(row["from"])) & (sizes <= int(row["to"]))
        assert int(row["buckets"]) == inside.sum()


def test_the_radius_plot_holds_every_radius(curve):
    plot = radius_plot(curve, "equal label")
    assert [row[0] for row in plot.rows] == list(range(17))
    np.testing.assert_allclose([row[1] for row in plot.rows], curve.precision)
    np.testing.assert_allclose([row[2] for row in plot.rows], curve.recall)
    drawn = plot.figure.axes[0].lines[1].get_ydata()
    np.testing.assert_allclose(drawn, curve.recall[: len(drawn)])


def test_the_correlation_plot_names_each_pair_once(codes):
    plot = correlation_plot(codes)
    assert len(plot.rows) == 16 * 15 / 2
    bits = np.unpackbits(codes, axis=1)
    first, second, value = plot.rows[37]
    assert value == pytest.approx(np.corrcoef(bits[:, first], bits[:, second])[0, 1])


def test_training_curves_take_whatever_was_noted():
    history = [
        {"epoch": 1, "loss": 3.0, "reconstruction": 0.3, "validation_loss": None},
        {"epoch": 2, "loss": 2.0, "reconstruction": 0.2, "validation_loss": 2.5},
    ]
    plot = training_plot(history)
    assert plot.columns == ("epoch", "loss", "reconstruction", "validation_loss")
    assert plot.rows[1] == (2, 2.0, 0.2, 2.5)
    assert len(plot.figure.axes) == 2  # both losses share one
    with pytest.raises(InputError):
        training_plot([])


def test_bits_and_maps_hold_their_points():
    scores = [
        {"method": method, "bits": bits, "map_1000": bits / 100, "precision_100": 0.5}
        for method in ("hashret", "ITQ")
        for bits in (8, 16)
    ]
    plot = bits_plot(scores, "equal label")
    assert plot.rows[1] == ("hashret", 16, 0.16, 0.5)
    assert len(plot.figure.axes[0].lines) == 2
    points = np.random.default_rng(0).random((60, 2)).astype(np.float32)
    labels = [*range(12)] * 5
    plot = map_plot([str(i) for i in range(60)], labels, points, -points)
    texts = [text.get_text() for text in plot.figure.legends[0].get_texts()]
    assert texts == [str(i) for i in range(12)]
    assert plot.rows[3][1:] == (3, *points[3].tolist(), *(-points[3]).tolist())
    many = map_plot([str(i) for i in range(60)], list(range(60)), points, points)
    assert len(many.figure.legends[0].get_texts()) == 21
    assert not map_plot(["a"] * 60, None, points, points).figure.legends


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_labels_are_shown_as_they_are(suffix, curve, tmp_path):
    """Not as formulas, though they hold dollars; without a warning, though the font lacks them."""
    points = np.zeros((6, 2), np.float32)
    labels = ["US$ to A$", r"$\frac$", "_x", "<b>", "\N{CJK UNIFIED IDEOGRAPH-6570}", ""]
    drawn = map_plot(list("abcdef"), labels, points, points)
    save(drawn, tmp_path / f"map{suffix}")
    save(radius_plot(curve, "equal $x_$"), tmp_path / f"radius{suffix}")
    if suffix == ".svg":
        assert {row["label"] for row in numbers(tmp_path / "map.csv")} == set(labels)
        page = inline_svg(drawn)
        assert all(f">{html.escape(label, quote=False)}<" in page for label in labels if label)
        assert ">Relevant: equal $x_$<" in inline_svg(radius_plot(curve, "equal $x_$"))
        assert ">others<" not in page


def test_reconstructions_are_measured_item_by_item():
    black, grey = np.zeros((4, 5), np.uint8), np.full((4, 5), 51, np.uint8)
    plot = reconstruction_plot(["a", "b"], [black, grey], [grey, grey], 32)
    assert [row[0] for row in plot.rows] == ["a", "b"]
    assert [row[1] for row in plot.rows] == pytest.approx([0.04, 0])
    assert len(plot.figure.axes) == 4


def test_figures_in_a_page_share_no_names_and_take_the_page_s_ink(codes, curve):
    figures = [inline_svg(plot) for plot in (radius_plot(curve, "x & <y>"), buckets_plot(codes))]
    for svg in figures:
        ET.fromstring(svg)
        names = set(re.findall(r'\bid="([^"]+)"', svg))
        for used in re.findall(r'(?:url\(#|href="#)([^)"]+)', svg):
            assert used in names
        assert "currentColor" in svg
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in figures]
    assert not ids[0] & ids[1]


class _Loads(HTMLParser):
    """What a page would fetch or run."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.links = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in ("script", "link", "iframe", "object"):
            self.found.append(tag)
        source = values.get("src") or (values.get("xlink:href") if tag != "a" else None) or ""
        if source and not source.startswith(("data:", "#")):
            self.found.append(source)
        if tag == "a":
            self.links.append(values["href"])


def test_the_report_is_one_file_and_its_numbers_lie_beside_it(digits_index, tmp_path):
    report = evaluate(digits_index, sample=50)
    written = write_html_report(report, digits_index, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    loads = _Loads()
    loads.feed(page)
    assert loads.found == []
    assert "@import" not in page
    assert written[0] == tmp_path / "report.html"
    beside = {path.name for path in written[1:]}
    assert set(loads.links) == beside == {path.name for path in tmp_path.glob("*.csv")}
    assert {"report-radius.csv", "report-buckets.csv", "report-reconstruction.csv"} <= beside
    assert f"{report.map_1000:.3f}" in page
    assert "prefers-color-scheme: dark" in page
    precision = [float(row["precision"]) for row in numbers(tmp_path / "report-radius.csv")]
    np.testing.assert_allclose(precision, report.radius.precision)


def test_a_report_of_vectors_names_what_is_missing(vectors, tmp_path):
    pairs = [(f"<{i}>", row, {"label": f"<b>{i % 3}"}) for i, row in enumerate(vectors[:100])]
    with hashret.create(tmp_path / "<i>", pairs, 16, epochs=2, random_state=0) as index:
        report = evaluate(index)
        write_html_report(report, index, tmp_path / "a:b#c?.html")
    page = (tmp_path / "a:b#c?.html").read_text()
    assert "came from Python" in page
    loads = _Loads()
    loads.feed(page)
    assert {unquote(link) for link in loads.links} == {path.name for path in tmp_path.glob("*.csv")}
    assert not any(set(link) & set("#?:") for link in loads.links)
    assert "<h1>&lt;i&gt;</h1>" in page
    assert "<svg" in page


def test_an_index_of_images_shows_what_its_bits_keep(digits_index, idx_files):
    own = pictures_of_items(digits_index, count=4)
    assert len(own.rows) == 4
    assert {row[0] for row in own.rows} <= set(digits_index)
    others = hashret.sources.open_source(str(idx_files / "test-images-idx3-ubyte"))
    assert len(pictures_of_items(digits_index, others, count=3).rows) == 3


def test_what_cannot_be_drawn_is_said(make_index, vectors_index, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="Only images"):
        pictures_of_items(vectors_index)
    with hashret.open(make_index("digits")) as index:
        report = evaluate(index, sample=5)
        with pytest.raises(UsageError, match="At most 100 images"):
            pictures_of_items(index, count=101)
    metadata = vectors_index.path / "encoder" / "encoder.json"
    values = json.loads(metadata.read_text())
    values.pop("history", None)
    metadata.write_text(json.dumps(values))
    with pytest.raises(InputError, match="no history"):
        training_of(vectors_index)
    with pytest.raises(UsageError, match=r"\.png"):
        check_format(tmp_path / "plot.jpeg")
    with pytest.raises(HashretError, match="cannot be written"):
        save(code_plots(vectors_index)[0], tmp_path / "missing" / "plot.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(HashretError, match=r"pip install 'hashret\[plot\]'"):
        require_matplotlib()
    for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(HashretError, match=r"pip install 'hashret\[plot\]'"):
        write_html_report(report, vectors_index, tmp_path / "report.html")
