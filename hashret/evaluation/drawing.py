"""Figures: one look, written as files or into a page, their numbers beside them."""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashret.errors import HashretError, UsageError
from hashret.files import write_durably

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")

INK = "#1f2a37"
"""Of text and axes; in a page it becomes the page's own colour of text."""

COLOURS = ("#0d9488", "#d9622b", "#6366f1", "#a16207", "#be3a78", "#64748b")
"""Told apart on white and on black."""

_STYLE = {
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#94a3b8",
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#94a3b8",
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "hashret",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Plot:
    """A figure and the numbers it shows.

    Attributes:
        name: one word, for file names.
        title: what it shows.
        figure: the figure.
        columns: names of the numbers.
        rows: the numbers, a row a line.
    """

    name: str
    title: str
    figure: Figure
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


def require_matplotlib() -> None:
    """Refuse to begin what would end without pictures.

    Raises:
        HashretError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: F401 - only whether it can be
    except ImportError as error:
        raise HashretError(
            "Plots are drawn by matplotlib, which is not installed: pip install 'hashret[plot]'"
        ) from error


def check_format(file: Path) -> None:
    """Refuse a file that no plot can be written to.

    Raises:
        UsageError: its name does not end in .png, .svg or .pdf.
    """
    if file.suffix.lower() not in FORMATS:
        raise UsageError(f"A plot is a {', '.join(FORMATS)} file, got {str(file)!r}.")


def check_writable(file: Path) -> None:
    """Refuse to begin what would end without a file.

    Raises:
        HashretError: its folder is missing or may not be written to.
    """
    folder = file.absolute().parent
    if not folder.is_dir():
        raise HashretError(f"{file} cannot be written: there is no folder {folder}. Make it first.")
    if not os.access(folder, os.W_OK):
        raise HashretError(f"{file} cannot be written: {folder} is not writable.")


@contextmanager
def style() -> Iterator[None]:
    """Draw and write figures in this style."""
    require_matplotlib()
    import matplotlib as mpl

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A label may be in any script: what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font", UserWarning)
        yield


def plain(text: str) -> str:
    """Text from the data as matplotlib shows it: dollars are dollars, and no formula."""
    return text.replace("$", r"\$")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches; call it inside `style`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(plot: Plot, file: Path) -> Path:
    """Write a plot to ``file`` and its numbers beside it.

    Returns:
        The CSV's path: the stem of ``file`` and ``.csv``.

    Raises:
        HashretError: a file cannot be written.
    """
    check_format(file)
    content = io.BytesIO()
    with style():
        plot.figure.savefig(content, format=file.suffix[1:].lower(), facecolor="white")
    numbers = file.with_suffix(".csv")
    _write(file, content.getvalue())
    save_numbers(plot, numbers)
    return numbers


def save_numbers(plot: Plot, file: Path) -> None:
    """Write what a plot shows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(plot.columns)
    writer.writerows(plot.rows)
    _write(file, text.getvalue().encode("utf-8", "backslashreplace"))


def inline_svg(plot: Plot) -> str:
    """The figure as an ``<svg>`` element whose text has the colour of the text around it."""
    import matplotlib as mpl

    content = io.StringIO()
    with style(), mpl.rc_context({"svg.fonttype": "none"}):
        plot.figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Several figures in a page must not share the names of their parts.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{plot.name}-", svg)
    # As wide as the page allows, and no wider than drawn.
    svg = re.sub(r'<svg ([^>]*?)width="([\d.]+)pt"', r'<svg \1style="max-width:\2pt"', svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)height="[\d.]+pt"', r"\1", svg, count=1)
    return svg.replace(INK, "currentColor")


def write_page(file: Path, page: str) -> None:
    """Write an HTML page.

    Raises:
        HashretError: it cannot be written.
    """
    _write(file, page.encode("utf-8", "backslashreplace"))


def _write(file: Path, content: bytes) -> None:
    try:
        write_durably(file, content)
    except OSError as error:
        raise HashretError(f"{file} cannot be written ({error.strerror or error}).") from error
