"""Pictures of results."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import numpy as np

from benchmarking.results import Case, Result, short, times

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

OURS = "#0f766e"
THEIRS = {
    "FAISS Flat": ("#c2410c", "s"),
    "FAISS Hash": ("#d97706", "v"),
    "FAISS MultiHash": ("#b45309", "^"),
    "pynear MIH": ("#4338ca", "D"),
    "pynear BK-tree": ("#7c3aed", "<"),
    "pynear VP-tree": ("#a855f7", ">"),
    "usearch exact": ("#0369a1", "P"),
    "sqlite-vec": ("#64748b", "X"),
}
KIND_COLOURS = {"uniform": "#64748b", "clustered": "#0f766e", "real": "#c2410c"}
STYLE = {
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": "#334155",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": "#0f172a",
    "xtick.color": "#475569",
    "ytick.color": "#334155",
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def plot(file: Path, results: list[Result]) -> Path | None:
    """Draw what was measured, if anything was."""
    results = [result for result in results if result.ours]
    if not results:
        return None
    file.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        scans = [result for result in results if result.case.goal == "planner"]
        figure = _planner(scans) if scans else _speed(results)
        figure.savefig(file, bbox_inches="tight", facecolor="white")
        plt.close(figure)
    return file


def growth(
    file: Path, rows: list[dict[str, Any]], label: str, title: str, *, log: bool = False
) -> None:
    """Draw the times of hashret and Flat, for single queries and for a batch side by side."""
    kinds = dict.fromkeys(row["line"].split(", ")[0] for row in rows)
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), sharey=True)
        for axis, mode, name in zip(
            axes, ("single", "batch"), ("one query at a time", "a batch"), strict=True
        ):
            for kind in kinds:
                chosen = [row for row in rows if row["line"] == f"{kind}, {mode}"]
                x = [row["x"] for row in chosen]
                colour = KIND_COLOURS.get(kind, OURS)
                for side, dash in (("hashret", "-o"), ("flat", ":")):
                    y = [row[f"{side}_seconds"] for row in chosen]
                    text = f"{'hashret' if side == 'hashret' else 'FAISS Flat'}, {kind}"
                    axis.plot(x, y, dash, color=colour, lw=1.8, ms=4, label=text)
            axis.set_yscale("log")
            time_axis(axis.yaxis)
            if log:
                axis.set_xscale("log")
                axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(int(value))))
                axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_xlabel(label)
            axis.set_title(name, fontsize=9, color="#475569")
        axes[0].set_ylabel("time of a query")
        handles, names = axes[0].get_legend_handles_labels()
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": len(kinds)}
        figure.legend(handles, names, **place)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.tight_layout()
        figure.savefig(file, bbox_inches="tight", facecolor="white")
        plt.close(figure)


def time_axis(axis: Any) -> None:
    """Label a logarithmic axis of seconds in words."""
    low, high = axis.get_view_interval()
    if high / low < 50:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: time_label(value)))
    axis.set_minor_formatter(NullFormatter())


def time_label(value: float) -> str:
    """A round time, such as "10 us"."""
    for size, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "\N{MICRO SIGN}s")):
        if value >= size * 0.999:
            return f"{value / size:g} {unit}"
    return f"{value / 1e-9:g} ns"


def _speed(results: list[Result]) -> Any:
    """A line for each question: the time of hashret and those of the others."""
    cases: dict[Case, list[Result]] = {}
    for result in results:
        cases.setdefault(_without_peers(result.case), []).append(result)
    figure, axes = plt.subplots(figsize=(9, 1.4 + 0.42 * len(cases)))
    shown: dict[str, Any] = {}
    for y, of_case in enumerate(cases.values()):
        ours = median(median(result.ours) for result in of_case)
        others = [median(result.theirs) for result in of_case]
        axes.plot([ours, *others], [y] * (len(others) + 1), color="#cbd5e1", lw=2, zorder=1)
        for result, theirs in zip(of_case, others, strict=True):
            name = next((name for name in THEIRS if result.other.startswith(name)), result.other)
            colour, marker = THEIRS.get(name, ("#c2410c", "s"))
            options = {"color": colour, "marker": marker, "s": 42, "zorder": 2, "lw": 0}
            shown[name] = axes.scatter(theirs, y, **options)
        shown["hashret"] = axes.scatter(ours, y, color=OURS, s=70, zorder=3)
        place = {"xycoords": ("axes fraction", "data"), "va": "center", "fontweight": "bold"}
        axes.annotate(times(median(of_case[0].ratios)), (1.02, y), color=OURS, **place)
        if len(of_case) > 1:
            best = min(of_case[1:], key=lambda result: median(result.ratios))
            axes.annotate(times(median(best.ratios)), (1.16, y), color="#475569", **place)
    axes.set_yticks(range(len(cases)), [f"{case.codes}\n{case.query}" for case in cases])
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.set_xscale("log")
    time_axis(axes.xaxis)
    axes.set_xlabel("time of a query")
    axes.set_title("Exact search by Hamming distance", pad=14)
    first = next(iter(cases.values()))[0].other.split(" (")[0]
    heads = [(1.02, f"faster than\n{first}, by")]
    if any(len(of_case) > 1 for of_case in cases.values()):
        heads.append((1.16, "than the best\nother, by"))
    for x, head in heads:
        place = {"xytext": (0, 5), "textcoords": "offset points", "fontsize": 8}
        axes.annotate(head, (x, 1), xycoords="axes fraction", color="#64748b", **place)
    names = ["hashret", *(name for name in shown if name != "hashret")]
    axes.legend(
        [shown[name] for name in names],
        names,
        loc="upper left",
        bbox_to_anchor=(-0.01, -0.62 / (0.42 * len(cases) + 0.3)),
        ncols=5,
        handletextpad=0.2,
        columnspacing=1.2,
    )
    return figure


def _planner(results: list[Result]) -> Any:
    """How much slower than the better scan, by radius; a panel for each number of codes."""
    sizes = sorted({result.case.n for result in results})
    options = {"sharey": True, "squeeze": False}
    figure, axes = plt.subplots(1, len(sizes), figsize=(4 * len(sizes), 3.8), **options)
    for axis, n in zip(axes[0], sizes, strict=True):
        for kind, colour in KIND_COLOURS.items():
            for single, dash in ((True, "-"), (False, "--")):
                chosen = [
                    result
                    for result in results
                    if (result.case.n, result.case.kind, result.case.single) == (n, kind, single)
                ]
                radii = [result.case.radius for result in chosen]
                slower = [1 / median(result.ratios) for result in chosen]
                label = f"{kind}, {'single' if single else 'batch'}"
                axis.plot(radii, slower, dash, color=colour, lw=1.6, label=label)
        axis.axhline(1, color="#0f172a", lw=0.8)
        axis.axhspan(1, 1.1, color="#fde68a", alpha=0.5, lw=0)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} x"))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_xticks(np.arange(0, 65, 16))
        axis.set_xlabel("radius, bits of 64")
        axis.set_title(f"{short(n)} codes")
    axes[0][0].set_ylabel("time over that of the better scan")
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "ncols": len(KIND_COLOURS)}
    figure.legend(*axes[0][0].get_legend_handles_labels(), **place)
    figure.tight_layout()
    return figure


def _without_peers(case: Case) -> Case:
    return Case(case.goal, case.kind, case.n, case.n_bits, case.radius, case.k, case.single)
