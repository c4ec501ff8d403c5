"""Random steps from state to state."""

from __future__ import annotations

import random
from dataclasses import dataclass

import hashret
from faults.oracle import KEYS, VERSIONS, State, items

_KEYS = KEYS[:240]


@dataclass(frozen=True)
class Step:
    """One change of an index.

    Attributes:
        added: versions of keys that are added or updated.
        removed: keys that are removed.
        after: the state then.
        compacts: whether the segments are made anew instead.
    """

    added: State
    removed: list[str]
    after: State
    compacts: bool = False

    def apply(self, index: hashret.Index) -> None:
        """Do it."""
        if self.compacts:
            index.compact()
        elif self.removed:
            index.remove(self.removed)
        else:
            index.add(items(self.added))


def random_steps(chance: random.Random, state: State, n: int) -> list[Step]:
    """So many steps from a state on: adding, updating, removing, compacting."""
    steps = []
    for _ in range(n):
        kind = chance.random()
        if kind < 0.15:
            step = Step({}, [], state, compacts=True)
        elif kind < 0.4 and state:
            removed = chance.sample(sorted(state), min(len(state), chance.choice([1, 5, 30])))
            step = Step({}, removed, {k: v for k, v in state.items() if k not in removed})
        else:
            keys = chance.sample(_KEYS, chance.choice([1, 4, 20, 60]))
            added = {key: chance.randrange(VERSIONS) for key in keys}
            step = Step(added, [], {**state, **added})
        steps.append(step)
        state = step.after
    return steps
