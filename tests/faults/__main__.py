"""Run one experiment: python -m faults EXPERIMENT FOLDER [--full] [--seed N] > tally.json."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import hashret.index.snapshot
from faults.oracle import SEGMENT_ROWS, Oracle, prepare
from faults.refusals import NotPermittedError
from faults.tally import Tally
from hashret.search import engine


def _walk(oracle: Oracle, folder: Path, tally: Tally, options: argparse.Namespace) -> None:
    from faults.walk import OPERATIONS, Walk

    walk = Walk(oracle, folder, tally)
    chosen = [one for one in OPERATIONS if options.only in (None, one.name)]
    walk.run(chosen, 1 if options.full else 11, options.seed)


def _damage(oracle: Oracle, folder: Path, tally: Tally, options: argparse.Namespace) -> None:
    from faults.damage import Damage

    damage = Damage(oracle, folder, tally, options.seed)
    damage.run(*((2000, 500) if options.full else (120, 40)))


def _power(oracle: Oracle, folder: Path, tally: Tally, options: argparse.Namespace) -> None:
    from faults.lost_writes import PowerLosses

    losses = PowerLosses(oracle, folder, tally, options.seed)
    losses.run(*((20, 100) if options.full else (4, 30)))


def _kills(oracle: Oracle, folder: Path, tally: Tally, options: argparse.Namespace) -> None:
    from faults.random_kills import RandomKills

    RandomKills(oracle, folder, tally, options.seed).run(1000 if options.full else 40)


def _full_disk(oracle: Oracle, folder: Path, tally: Tally, options: argparse.Namespace) -> None:
    from faults.refusals import FullDisk, small_disk

    with small_disk(folder) as disk:
        FullDisk(oracle, disk, tally).fill(1 if options.full else 9)


def _forbidden(oracle: Oracle, folder: Path, tally: Tally, _: argparse.Namespace) -> None:
    from faults.refusals import Forbidden

    Forbidden(oracle, folder, tally).run()


def _readers(oracle: Oracle, folder: Path, tally: Tally, options: argparse.Namespace) -> None:
    from faults.readers import Readers

    Readers(oracle, folder, tally, options.seed).run(60.0 if options.full else 4.0)


EXPERIMENTS: dict[str, Callable[[Oracle, Path, Tally, argparse.Namespace], None]] = {
    "walk": _walk,
    "kills": _kills,
    "damage": _damage,
    "full": _full_disk,
    "forbidden": _forbidden,
    "readers": _readers,
    "power": _power,
}


def main() -> None:
    """Run what is asked and print its tally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("folder", type=Path, help="an empty folder, best in memory")
    parser.add_argument("--full", action="store_true", help="all trials, not a few")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one operation of the walk")
    parser.add_argument("--progress", action="store_true", help="tell of it on stderr")
    options = parser.parse_args()
    logging.getLogger("hashret").setLevel(logging.CRITICAL)
    folder = options.folder.resolve()
    prepared = folder.parent / "prepared-encoder"
    if not prepared.exists():
        prepare(prepared)
    oracle = Oracle(prepared)
    hashret.index.snapshot.SEGMENT_ROWS = SEGMENT_ROWS
    engine.use("numpy")  # what is compiled would be compiled again in each child
    gc.freeze()  # else each child copies what its collector touches
    tally = Tally(options.experiment, shows_progress=options.progress)
    try:
        EXPERIMENTS[options.experiment](oracle, folder, tally, options)
    except NotPermittedError as error:
        tally.skipped = str(error)
    json.dump(tally.to_json(), sys.stdout, indent=1)


main()
