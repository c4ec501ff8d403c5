"""The optimizers to choose from, all with a warm-up and a cosine decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

WARMUP_STEPS = 100


def build_optimizer(name: str, learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    """An optimizer whose rate rises for 100 steps, a tenth at most, and falls to 0 as a cosine.

    Args:
        name: ``"adam"``, ``"sgd"`` (with momentum 0.9), ``"rmsprop"``, ``"adamw"``, ``"nadam"``,
            ``"lion"`` or ``"adagrad"``.
        learning_rate: the peak.
        steps: the steps there will be.
    """
    warmup = min(WARMUP_STEPS, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else learning_rate,
        max(steps - warmup, 1),
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizers: dict[str, Callable[[Any], keras.optimizers.Optimizer]] = {
        "adam": keras.optimizers.Adam,
        "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
        "rmsprop": keras.optimizers.RMSprop,
        "adamw": keras.optimizers.AdamW,
        "nadam": keras.optimizers.Nadam,
        "lion": keras.optimizers.Lion,
        "adagrad": keras.optimizers.Adagrad,
    }
    return optimizers[name](schedule)
