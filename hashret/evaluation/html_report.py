"""An evaluation as one HTML file that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hashret.evaluation.drawing import (
    Plot,
    inline_svg,
    require_matplotlib,
    save_numbers,
    write_page,
)
from hashret.evaluation.pictures import code_plots, history_of, pictures_of_items, training_of
from hashret.evaluation.plots import radius_plot
from hashret.evaluation.report import EvaluationReport
from hashret.index.index import Index
from hashret.progress import ProgressCallback, no_progress

LAST_RADIUS = 8

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2a37; --page: #fff; --line: #d5dce5; --soft: #5b6878 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e5eaf0; --page: #12171d; --line: #333d49; --soft: #9aa7b6 }
}
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: var(--ink);
  background: var(--page); font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin-bottom: .2rem; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
p, figcaption { color: var(--soft) }
a { color: inherit }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left }
th { font-weight: 600 }
td.number, th.number { text-align: right }
.wide { overflow-x: auto }
figure { margin: 1rem 0 }
figure svg { width: 100%; height: auto }
"""


def write_html_report(
    report: EvaluationReport,
    index: Index,
    file: Path,
    progress: ProgressCallback = no_progress,
) -> list[Path]:
    """Write a report with its plots inside, and each plot's numbers beside it.

    Args:
        report: what :func:`hashret.evaluation.evaluate` found.
        index: the index it is about.
        file: the page; the numbers of the plot ``radius`` go to ``<stem>-radius.csv``, and so on.
        progress: told of items that are read again.

    Returns:
        The files that were written, the page first.

    Raises:
        HashretError: matplotlib is not installed, or a file cannot be written.
    """
    require_matplotlib()
    plots = [radius_plot(report.radius, report.truth), *code_plots(index)]
    if index.kind == "images" and report.reconstruction is not None:
        plots.append(pictures_of_items(index, progress=progress))
    if history_of(index):
        plots.append(training_of(index))
    written = [file]
    for plot in plots:
        numbers = file.with_name(f"{file.stem}-{plot.name}.csv")
        save_numbers(plot, numbers)
        written.append(numbers)
    write_page(file, _page(report, plots, file.stem))
    return written


def _page(report: EvaluationReport, plots: Sequence[Plot], stem: str) -> str:
    name = html.escape(Path(report.index).name)
    figures = {plot.name: _figure(plot, f"{stem}-{plot.name}.csv") for plot in plots}
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in report.notes)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: evaluation</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{name}</h1>\n"
        f"<p>{report.items:,} items, codes of {report.n_bits} bits. Asked: "
        f"{html.escape(report.asked)}. Relevant: {html.escape(report.truth)}. Items at one "
        "distance are ties; every figure is the mean over all their orders.</p>\n"
        f"{notes}"
        f"<h2>Ranking</h2>\n{_ranking(report)}"
        f"<h2>Looking up within a radius</h2>\n{_radius(report)}{figures.pop('radius')}"
        f"{_neighbours(report)}"
        f"{_reconstruction(report)}{figures.pop('reconstruction', '')}"
        f"<h2>Codes</h2>\n{_codes(report)}{figures.pop('buckets')}{figures.pop('correlation')}"
        f"<h2>Search</h2>\n{_search(report)}"
        f"{''.join(figures.values())}</body></html>\n"
    )


def _figure(plot: Plot, numbers: str) -> str:
    link, name = quote(numbers.encode("utf-8", "surrogateescape")), html.escape(numbers)
    return (
        f"<h2>{html.escape(plot.title)}</h2>\n<figure>{inline_svg(plot)}"
        f'<figcaption>Numbers: <a href="{link}">{name}</a></figcaption></figure>\n'
    )


def _ranking(report: EvaluationReport) -> str:
    floats = report.float_precision or {}
    rows: list[list[Any]] = [
        ["mAP, all items", _share(report.map_all), ""],
        ["mAP@1000", _share(report.map_1000), ""],
    ]
    rows += [
        [f"P@{k}", _share(value), _share(floats[k]) if k in floats else ""]
        for k, value in report.precision.items()
    ]
    heads = ["measure", "codes", "features, float distance"]
    return _table(heads, rows) if floats else _table(heads[:2], [row[:2] for row in rows])


def _radius(report: EvaluationReport) -> str:
    curve = report.radius
    rows = [
        [
            str(radius),
            _share(float(curve.precision[radius])),
            _share(float(curve.recall[radius]), 4),
            f"{curve.items[radius]:,.1f}",
            f"{curve.empty[radius]:.1%}",
        ]
        for radius in range(min(LAST_RADIUS, report.n_bits) + 1)
    ]
    return _table(["radius (bits)", "precision", "recall", "items", "finds nothing"], rows)


def _neighbours(report: EvaluationReport) -> str:
    if report.neighbour_recall is None:
        return ""
    rows = [[f"{k:,}", f"{value:.1%}"] for k, value in report.neighbour_recall.items()]
    return (
        "<h2>Keeping the nearest by features</h2>\n<p>The share of an item's 10 nearest by float "
        "distance that are among the first by code.</p>\n" + _table(["first", "kept"], rows)
    )


def _reconstruction(report: EvaluationReport) -> str:
    if (scores := report.reconstruction) is None:
        return ""
    rows = [
        [f"{report.n_bits} bits, decoded", _error(scores.codes)],
        [f"{scores.same_bits_components} principal components as floats", _error(scores.same_bits)],
        [
            f"{scores.same_dimensions_components} principal components as floats",
            _error(scores.same_dimensions),
        ],
        ["the mean item", _error(scores.variance)],
    ]
    unit = f", values divided by {scores.unit:g}" if scores.unit != 1 else ""
    return f"<h2>Reconstruction</h2>\n<p>Mean squared error a feature{unit}.</p>\n" + _table(
        ["from", "error"], rows
    )


def _codes(report: EvaluationReport) -> str:
    codes = report.codes
    rows = [
        ["distinct codes", f"{codes.buckets:,}"],
        ["others in an item's bucket, mean", f"{codes.mean_sharing:,.1f}"],
        ["largest bucket", f"{codes.largest:,}"],
        [
            "entropy of a bit, mean / lowest",
            _pair(codes.bit_entropy, codes.lowest_bit_entropy),
        ],
        [
            "correlation of two bits, mean / largest",
            _pair(codes.bit_correlation, codes.largest_bit_correlation),
        ],
    ]
    return _table(["", ""], rows)


def _search(report: EvaluationReport) -> str:
    rows = [
        [
            f"{cost.search}, {'these codes' if cost.codes == 'index' else 'random codes'}",
            f"{cost.microseconds:,.0f} \N{MICRO SIGN}s",
            f"{cost.candidates:,.0f}",
            f"{cost.probes:,.1f}",
            f"{cost.hits:,.1f}",
        ]
        for cost in report.search
    ]
    text = (
        "<p>One query at a time. Random codes of the same number and length spread evenly, the "
        "least a hash table can be asked to do.</p>\n"
    )
    return text + _table(["search", "time", "candidates", "probes", "hits"], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=number' if place else ''}>{html.escape(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )

    head = f"<thead><tr>{line(heads, 'th')}</tr></thead>" if any(heads) else ""
    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>\n'


def _share(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}"


def _pair(first: float, second: float) -> str:
    return f"{first:.3f} / {second:.3f}"


def _error(value: float) -> str:
    return f"{value:.4g}"
