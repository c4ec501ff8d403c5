"""What is told on stderr of items that were added, and of inputs that were left out."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from hashret.cli.messages import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hashret.index.encoding import AddReport
    from hashret.sources import SkippedInputs

SKIPPED_EXIT_CODE = 3
MOST_FOR_ONE_REASON = 20

_PLACE = re.compile(r"^(line|row) [0-9,]+: ")
_DETAILS = re.compile(r"'(?:[^'\\]|\\.)*'|\b[0-9][0-9,.]*\b")


def tell_report(report: AddReport, total: int, path: object, seconds: float) -> None:
    """Count what an add did."""
    tell_skipped(report.skipped)
    recognized = f" ({report.recognized:,} known by content)" * bool(report.recognized)
    counts = [
        f"{report.added:,} added{recognized}",
        f"{report.updated:,} updated",
        f"{report.unchanged:,} unchanged",
        *([f"{report.pruned:,} pruned"] if report.pruned else []),
        f"{report.skipped.total:,} skipped",
    ]
    say(f"{', '.join(counts)}: {total:,} item{'s' * (total != 1)} in {path} ({seconds:.1f} s)")


def tell_timings(seconds: Mapping[str, float]) -> None:
    """Tell the seconds of each stage, and the most memory used."""
    from hashret.progress import STAGES, peak_memory

    parts = [f"{stage} {seconds[stage]:.1f}" for stage in STAGES if stage in seconds]
    memory = f"at most {peak_memory() >> 20:,} MiB of memory"
    say(f"Seconds: {', '.join(parts)}; {memory}" if parts else memory.capitalize())


def tell_skipped(skipped: SkippedInputs) -> None:
    """Name the inputs that were left out, and why; of many for one reason only the first."""
    told: Counter[str] = Counter()
    for one in skipped:
        reason = _reason_alone(one.reason)
        told[reason] += 1
        if told[reason] <= MOST_FOR_ONE_REASON:
            say(f"Skipped {one.name}: {one.reason}")
    for reason, count in told.items():
        if count > MOST_FOR_ONE_REASON:
            say(f"Skipped {count - MOST_FOR_ONE_REASON:,} more: {reason}")
    if skipped.unnamed:
        say(f"Skipped {skipped.unnamed:,} more, which are not named here")


def _reason_alone(reason: str) -> str:
    """A reason without what differs from one input to the next: places, numbers and names."""
    return _DETAILS.sub("…", _PLACE.sub("", reason))
