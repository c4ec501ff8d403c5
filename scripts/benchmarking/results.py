"""Results of comparisons, as a Markdown table and as JSON with facts about the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ("hashret", "numpy", "numba", "faiss-cpu", "usearch", "pynear", "apsw", "sqlite-vec")


@dataclass(frozen=True)
class Case:
    """A question to a code set: all codes within a radius, or the k nearest."""

    goal: str
    kind: str
    n: int
    n_bits: int
    radius: int | None = None
    k: int | None = None
    single: bool = False
    peers: tuple[str, ...] = ()

    @property
    def codes(self) -> str:
        """The code set in words."""
        return f"{short(self.n)} {self.kind}, {self.n_bits} bits"

    @property
    def query(self) -> str:
        """The question in words."""
        what = f"r = {self.radius}" if self.k is None else f"{self.k} nearest"
        return f"{what}, {'single' if self.single else 'batch'}"


@dataclass
class Result:
    """Seconds a query of two sides that took turns; the ratios say how often ours fits in theirs.

    Without seconds, the other side did not run; ``note`` says why.
    """

    case: Case
    other: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    hits: float = 0.0
    checked: int = 0
    queries: tuple[int, int] = (0, 0)
    plan: str = ""
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Theirs over ours in each round."""
        return [b / a for a, b in zip(self.ours, self.theirs, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Everything, with medians."""
        out = asdict(self)
        if self.ours:
            out |= {
                "our_seconds": median(self.ours),
                "their_seconds": median(self.theirs),
                "ratio": median(self.ratios),
                "ratio_least": min(self.ratios),
                "ratio_most": max(self.ratios),
            }
        return out

    def line(self) -> str:
        """A row of the table."""
        ratios = self.ratios
        cells = [
            self.case.codes,
            self.case.query,
            f"{self.hits:,.1f}",
            seconds(median(self.ours)),
            self.other,
            seconds(median(self.theirs)),
            f"**{times(median(ratios))}** ({times(min(ratios))} to {times(max(ratios))})",
            f"{self.checked:,}",
            "; ".join(filter(None, [self.plan, self.note])),
        ]
        return "| " + " | ".join(cells) + " |"


@dataclass(frozen=True)
class Fact:
    """A number that is no comparison."""

    goal: str
    what: str
    value: float | None
    unit: str
    note: str = ""

    def line(self) -> str:
        """A row of the table."""
        value = "not measured" if self.value is None else f"{self.value:,.4g} {self.unit}"
        if self.value is not None and abs(self.value) >= 1e4:
            value = f"{self.value:,.0f} {self.unit}"
        return f"| {self.what} | {value} | {self.note} |"


HEAD = (
    "| codes | query | hits | hashret | other | takes | faster by (range) | checked | plan |\n"
    "|---|---|---:|---:|---|---:|---:|---:|---|"
)
FACTS_HEAD = "| what | value | note |\n|---|---:|---|"


def markdown(results: list[Result], facts: list[Fact]) -> str:
    """Tables of what there is."""
    parts = []
    order = {case: i for i, case in enumerate(dict.fromkeys(result.case for result in results))}
    done = sorted((r for r in results if r.ours), key=lambda result: order[result.case])
    if done:
        parts.append("\n".join([HEAD, *(result.line() for result in done)]))
    if facts:
        parts.append("\n".join([FACTS_HEAD, *(fact.line() for fact in facts)]))
    missing: dict[str, list[str]] = {}
    for result in results:
        if not result.ours:
            reason = f"{result.other}: {result.note}"
            missing.setdefault(reason, []).append(f"{result.case.codes}, {result.case.query}")
    if missing:
        lines = [f"- {reason} ({'; '.join(cases)})" for reason, cases in missing.items()]
        parts.append("\n".join(["Not run:\n", *lines]))
    return "\n\n".join(parts)


def write_json(
    file: Path, results: list[Result], facts: list[Fact], options: dict[str, Any]
) -> None:
    """All figures, and how they came about."""
    content = {
        "machine": machine(),
        "command": " ".join(sys.argv),
        "options": {name: str(value) for name, value in options.items()},
        "results": [result.to_json() for result in results],
        "facts": [asdict(fact) for fact in facts],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """The processor, its memory, and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = dict(line.split(":", 1) for line in lines if ":" in line)
    cpu = {name.strip(): value.strip() for name, value in cpu.items()}
    flags = cpu.get("flags", "").split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cpu": f"{cpu.get('model name')}, family {cpu.get('cpu family')}, {cpu.get('cpu MHz')} MHz",
        "cores": os.cpu_count(),
        "vector_popcount": "avx512_vpopcntdq" in flags,
        "memory_gb": round(memory / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def short(n: int) -> str:
    """A number of codes in few letters."""
    for size, letter in ((10**6, " M"), (10**3, " k")):
        if n >= size:
            return f"{n / size:.4g}{letter}"
    return str(n)


def seconds(value: float) -> str:
    """A time with three digits."""
    for size, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.0f} ns"


def times(ratio: float) -> str:
    """A ratio with two or three digits."""
    return f"{ratio:,.0f} x" if ratio >= 100 else f"{ratio:.3g} x"
