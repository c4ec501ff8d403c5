"""What an index must hold and answer, known without asking it.

A state is which version of which key is there: ``{"k007": 2, ...}``. Every version of every key has
a vector, a code and fields of its own, so that a mixture of two states is seen, whatever is mixed.
"""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import hashret
from hashret.codes import hamming, to_hex
from hashret.encoder.artefacts import Artefacts
from hashret.encoder.baselines import RandomHyperplanes

State: TypeAlias = dict[str, int]

KEYS = [f"k{number:03}" for number in range(260)]
VERSIONS = 4
N_BITS = 32
N_FEATURES = 12
SEGMENT_ROWS = 50
"""A segment is due after so few items that merges happen in every experiment."""

_PREPARE = """
import sys, numpy as np
from hashret.encoder.baselines import RandomHyperplanes
X = np.random.default_rng(0).normal(size=(400, {n_features})).astype(np.float32)
RandomHyperplanes({n_bits}, random_state=0).fit(X).save(sys.argv[1])
"""


def prepare(folder: Path) -> None:
    """Learn the one encoder of all experiments, in a process of its own: it needs TensorFlow."""
    program = _PREPARE.format(n_features=N_FEATURES, n_bits=N_BITS)
    subprocess.run([sys.executable, "-c", program, folder], check=True, capture_output=True)


def vector(key: str, version: int) -> np.ndarray:
    """The value of a version of a key."""
    seed = zlib.crc32(f"{key}/{version}".encode())
    return np.random.default_rng(seed).normal(size=N_FEATURES).astype(np.float32)


def fields(key: str, version: int) -> dict[str, Any]:
    """Its fields."""
    return {"label": zlib.crc32(key.encode()) % 5, "version": version, "text": f"{key} " * version}


def item(key: str, version: int) -> tuple[str, np.ndarray, dict[str, Any]]:
    """What is added to have it."""
    return key, vector(key, version), fields(key, version)


def items(state: State) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
    """What is added to have a state."""
    return [item(key, version) for key, version in state.items()]


def state_of(keys: Iterable[str], version: int = 0) -> State:
    """The state with one version of some keys."""
    return dict.fromkeys(keys, version)


class PreparedHasher(RandomHyperplanes):
    """Random hyperplanes that are learned already: a process without TensorFlow may fit it."""

    folder: Path

    def fit(self, X: Any, y: object = None, progress: object = None) -> PreparedHasher:
        """Take what was learned before."""
        self._check_matrix(X, reset=True)
        self._adopt(Artefacts.read(self.folder))
        return self


# An index names its recipe by the class of its hasher.
PreparedHasher.__name__ = RandomHyperplanes.__name__


@dataclass(frozen=True)
class Found:
    """What an index was found to hold.

    Attributes:
        state: None where there is no index.
        problems: whatever is wrong with it, in a line each.
    """

    state: State | None
    problems: list[str]


class Oracle:
    """Knows the code of every version of every key.

    Args:
        prepared: the folder of the encoder that :func:`prepare` made.
    """

    def __init__(self, prepared: Path) -> None:
        """Encode everything once."""
        PreparedHasher.folder = prepared
        names = [(key, version) for key in KEYS for version in range(VERSIONS)]
        encoder = Artefacts.read(prepared).encoder
        codes = encoder.encode(np.stack([vector(*name) for name in names]))
        self.codes = dict(zip(names, codes, strict=True))

    def create(self, path: Path, state: State) -> hashret.Index:
        """Make an index with a state."""
        hasher = PreparedHasher(N_BITS)
        return hashret.create(path, items(state), hasher=hasher, keep_vectors=True)

    def nearest(self, state: State, code: np.ndarray) -> dict[str, int]:
        """The distance of every item of a state from a code."""
        if not state:
            return {}
        codes = np.stack([self.codes[one] for one in state.items()])
        return dict(zip(state, hamming(codes, code).tolist(), strict=True))

    def examine(self, path: Path) -> Found:
        """Open an index, read all of it, ask it, verify it."""
        try:
            return self._examined(path)
        except hashret.IndexNotFoundError:
            return Found(None, [])
        except hashret.HashretError as error:
            return Found(None, [f"it cannot be read: {type(error).__name__}: {error}"])

    def _examined(self, path: Path) -> Found:
        with hashret.open(path) as index:
            state, problems = self.held(index)
            report = index.verify()
            problems += [f"verify: {line}" for line in report.problems]
            if report.items != len(state):
                problems.append(f"verify saw {report.items} of {len(state)} items")
            return Found(state, problems)

    def held(self, index: hashret.Index) -> tuple[State, list[str]]:
        """The state that an open index shows, and where its answers disagree with it."""
        state: State = {}
        problems = []
        for one in index.items():
            version = one.fields.get("version")
            state[one.key] = version
            if one.fields != fields(one.key, version):
                problems.append(f"{one.key} has the fields {one.fields}")
            if not np.array_equal(one.code, self.codes[one.key, version]):
                problems.append(f"{one.key} has the code {to_hex(one.code)}")
        if len(index) != len(state):
            problems.append(f"len is {len(index)}, there are {len(state)} items")
        problems += self.wrong_answers(index, state)
        return state, problems

    def wrong_answers(self, index: hashret.Index, state: State) -> list[str]:
        """Where the search disagrees with comparing everything."""
        code = self.codes[KEYS[3], 1]
        expected = self.nearest(state, code)
        problems = []
        for radius, limit in ((N_BITS, None), (9, None), (None, 7)):
            hits = index.query_code(code, radius, limit)
            found = {hit.key: hit.distance for hit in hits}
            right = {k: d for k, d in expected.items() if radius is None or d <= radius}
            if limit is not None:
                farthest = sorted(right.values())[:limit]
                same = sorted(found.values()) == farthest and found.items() <= right.items()
            else:
                same = found == right and len(hits) == len(right)
            if not same:
                problems.append(f"radius {radius}, limit {limit}: {len(hits)} hits are not right")
        return problems
