"""Texts that several test modules learn from."""

import numpy as np

NOUNS = [
    "cat",
    "dog",
    "horse",
    "engine",
    "wheel",
    "brake",
    "violin",
    "trumpet",
    "melody",
    "flour",
    "sugar",
    "oven",
]
VERBS = ["sees", "hears", "paints", "repairs", "sells", "carries", "finds", "watches"]


def corpus(count: int = 300) -> list[str]:
    """Sentences on one of four subjects each."""
    rng = np.random.default_rng(0)
    return [
        " ".join(
            f"The {NOUNS[3 * (n % 4) + rng.integers(3)]} {VERBS[rng.integers(8)]} item{n % 5}."
            for _ in range(rng.integers(2, 7))
        )
        for n in range(count)
    ]


TEXTS = corpus()
