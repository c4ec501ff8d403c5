"""Run one experiment: python -m faults EXPERIMENT FOLDER [--full] [--seed N] > tally.json."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from faults.oracle import Oracle, prepare
from faults.tally import Tally


def _walk(oracle: Oracle, folder: Path, tally: Tally, options: argparse.Namespace) -> None:
    from faults.walk import FAULTS, OPERATIONS, Walk

    walk = Walk(oracle, folder, tally)
    chosen = [one for one in OPERATIONS if options.only in (None, one.name)]
    walk.run(chosen, FAULTS)


EXPERIMENTS: dict[str, Callable[[Oracle, Path, Tally, argparse.Namespace], None]] = {
    "walk": _walk,
}


def main() -> None:
    """Run what is asked and print its tally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("folder", type=Path, help="an empty folder, best in memory")
    parser.add_argument("--full", action="store_true", help="all trials, not a few")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one operation")
    options = parser.parse_args()
    logging.getLogger("hashret").setLevel(logging.CRITICAL)
    folder = options.folder.resolve()
    prepared = folder.parent / "prepared-encoder"
    if not prepared.exists():
        prepare(prepared)
    tally = Tally(options.experiment)
    EXPERIMENTS[options.experiment](Oracle(prepared), folder, tally, options)
    json.dump(tally.to_json(), sys.stdout, indent=1)


main()
