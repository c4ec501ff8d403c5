"""What is told to whoever waits while a hasher learns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import SupportsFloat

REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class TrainingProgress:
    """How far training has come.

    Attributes:
        epoch: the current pass over the data, from 1; in pretraining the current layer.
        epochs: the passes there will be at most, or the layers.
        step: steps taken so far, over all passes or layers.
        steps: the steps there will be at most.
        loss: the loss of the latest batch.
        validation_loss: the loss on held-out rows after the latest full pass; None before the
            first, and where the data are too few to hold rows out.
        seconds: time since this phase started.
        seconds_left: estimate of the time to the last step.
        phase: ``"pretraining"``, or ``"training"``, which follows it and is all there is without.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    validation_loss: float | None
    seconds: float
    seconds_left: float
    phase: str = "training"


class ProgressReporter:
    """Tells the caller how far a phase has come, neither too often nor too seldom.

    Args:
        progress: whom to tell; None for nobody.
        epochs: passes, or layers, that there will be at most.
        steps: steps that there will be at most.
        phase: the name of the phase.
    """

    def __init__(
        self,
        progress: Callable[[TrainingProgress], None] | None,
        epochs: int,
        steps: int,
        phase: str = "training",
    ) -> None:
        """Start the clock."""
        self.steps_made = 0
        self._progress, self._epochs, self._steps, self._phase = progress, epochs, steps, phase
        self._start = self._reported = time.perf_counter()
        self._first_seconds = 0.0
        self._validation_loss: float | None = None

    def step(self, epoch: int, loss: SupportsFloat) -> None:
        """Count a step."""
        self.steps_made += 1
        now = time.perf_counter()
        if self.steps_made == 1:
            self._first_seconds = now - self._start
        if now - self._reported > REPORT_SECONDS:
            self._tell(epoch, loss)

    def epoch(self, epoch: int, loss: SupportsFloat, validation_loss: float | None = None) -> None:
        """A pass, or a layer, is over."""
        self._validation_loss = validation_loss
        self._tell(epoch, loss)

    def _tell(self, epoch: int, loss: SupportsFloat) -> None:
        if self._progress is None:
            return
        self._reported = time.perf_counter()
        seconds = self._reported - self._start
        # The first step compiles, so it tells little about those to come.
        pace = (seconds - self._first_seconds) / max(self.steps_made - 1, 1)
        left = pace * (self._steps - self.steps_made)
        self._progress(
            TrainingProgress(
                epoch, self._epochs, self.steps_made, self._steps, float(loss),
                self._validation_loss, seconds, left, self._phase,
            )
        )  # fmt: skip
