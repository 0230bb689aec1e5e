"""What a request to stop leads to, in one line: it depends on the running stage and on how long its steps take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import fmean

from deepicd.phases import IN_LOOP, Phase, PhaseStart
from deepicd.run_layout import TRAINING_STAGES
from deepicd.training.step_metrics import StepMetrics

_AGAIN = "press Ctrl-C again to exit immediately"
_RECENT = 10
"""Steps whose mean duration is expected of the next."""


class StopNotice:
    """A `Reporter` that follows what a stop would interrupt. Times are seconds of one monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage: str | None = None
        self._phase: Phase | None = None
        self._phase_began = 0.0
        self._in_loop = False
        self._step_began = 0.0
        self._durations: deque[float] = deque(maxlen=_RECENT)
        self._saving: float | None = None

    def stage_started(self, stage: str) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._stage, self._phase, self._in_loop, self._saving = stage, None, False, None
        self._durations.clear()

    def phase(self, stage: str, start: PhaseStart) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        now = self._clock()
        if self._phase == Phase.SAVING:
            self._saving = now - self._phase_began
        if start.phase in IN_LOOP and not self._in_loop:
            self._in_loop, self._step_began = True, now
        self._phase, self._phase_began = start.phase, now

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        now = self._clock()
        if row.step > 0:
            self._durations.append(now - self._step_began)
        self._step_began = now

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._stage = None

    def text(self, signals: int) -> str:
        """What follows now that so many signals have arrived."""
        if self._stage is None:
            return "Exiting immediately" if signals > 1 else f"Stopping; {_AGAIN}"
        if self._phase == Phase.DOWNLOAD:
            return f"Exiting when the files of {self._stage} are fetched from the store"
        if signals > 1:
            return f"Exiting immediately: the processes of {self._stage} are being ended"
        if self._stage in TRAINING_STAGES and self._in_loop:
            return f"{self._checkpoint()}; {_AGAIN}"
        return f"Exiting immediately: {self._stage} {self._lost()}"

    def _lost(self) -> str:
        if self._stage in TRAINING_STAGES:
            return "has made no step since it started"
        if self._stage == "evaluate":
            return "resumes after its last batch of answers"
        if self._phase == Phase.TEACHER:
            return "keeps the teacher's answers so far"
        return "starts again when the run is resumed"

    def _checkpoint(self) -> str:
        if self._phase == Phase.ENDING:
            return f"All steps of {self._stage} are made; exiting when its processes have ended"
        return f"Saving at the end of this step{self._expected()}"

    def _expected(self) -> str:
        """The time until the checkpoint is saved, by the steps and checkpoints so far; empty before the first step."""
        if not self._durations:
            return ""
        left = fmean(self._durations) + (self._saving or 0.0) - (self._clock() - self._step_began)
        return f", about {max(1, round(left))} s"
