"""What is told to whoever waits while a hasher learns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingProgress:
    """How far training has come.

    Attributes:
        epoch: the current pass over the data, from 1.
        epochs: the passes there will be at most.
        step: optimizer steps taken so far, over all passes.
        steps: the optimizer steps there will be at most.
        loss: the loss of the latest batch.
        validation_loss: the loss on held-out rows after the latest full pass; None before the
            first, and where the data are too few to hold rows out.
        seconds: time since training started.
        seconds_left: estimate of the time to the last step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    validation_loss: float | None
    seconds: float
    seconds_left: float
