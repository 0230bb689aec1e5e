"""Receivers of a run's progress."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from deepicd.phases import PhaseStart
from deepicd.training.step_metrics import StepMetrics


class Reporter(Protocol):
    """Shows a run's progress."""

    def stage_started(self, stage: str) -> None:
        """A stage begins or resumes."""

    def phase(self, stage: str, start: PhaseStart) -> None:
        """A phase of the stage begins; the one before has ended."""

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """A stage made a step; `total` is the stage's number of steps, `eta` the seconds that are left."""

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        """A stage is finished; `already`: it was before this command began."""


class Reporters:
    """Several reporters as one."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def stage_started(self, stage: str) -> None:
        """See `Reporter`."""
        for reporter in self._reporters:
            reporter.stage_started(stage)

    def phase(self, stage: str, start: PhaseStart) -> None:
        """See `Reporter`."""
        for reporter in self._reporters:
            reporter.phase(stage, start)

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """See `Reporter`."""
        for reporter in self._reporters:
            reporter.step(stage, row, total, eta)

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        """See `Reporter`."""
        for reporter in self._reporters:
            reporter.stage_finished(stage, seconds, already=already)


class Eta:
    """Time left in a stage, by the pace of its last steps."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque(maxlen=20)

    def seconds(self, step: int, total: int | None) -> float | None:
        """Seconds left after `step` of `total`; None before the pace is known."""
        self._seen.append((step, time.monotonic()))
        (first, began), (_, now) = self._seen[0], self._seen[-1]
        return (now - began) / (step - first) * (total - step) if total is not None and step > first else None


class GpuHours:
    """GPU-hours of a run up to a stage's last step, and to the stage's end."""

    def __init__(self, gpus: int, earlier: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`gpus`: that the run holds; `earlier`: seconds that it held them before this launch of the stage."""
        self._gpus, self._earlier, self._clock = gpus, earlier, clock
        self._began = clock()

    def added(self, row: StepMetrics, eta: float | None) -> StepMetrics:
        """The step with its GPU-hours; `eta`: seconds to the end of the stage, if known."""
        hours = self._gpus / 3600
        spent = self._earlier + self._clock() - self._began
        return replace(row, gpu_hours=hours * spent, gpu_hours_left=None if eta is None else hours * eta)
