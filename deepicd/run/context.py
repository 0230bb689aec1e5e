"""The context that every stage gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepicd.phases import OnPhase, ignore
from deepicd.run_layout import RunLayout
from deepicd.spec.run import DeepICDRun
from deepicd.training.step_metrics import StepMetrics
from deepicd.training.supervise import Stop


@dataclass(frozen=True)
class Context:
    """A run in progress."""

    run: DeepICDRun
    layout: RunLayout
    """The run's folder."""
    stop: Stop
    on_step: Callable[[StepMetrics, int | None], None]
    """Called with each step of a stage and the stage's total number of steps, if known."""
    on_phase: OnPhase = ignore
    """Called when a stage's phase begins."""

    @property
    def cohort(self) -> Path:
        """Folder with train, validation and test.parquet, with whole notes."""
        prepared = self.run.spec.data.prepared
        return Path(prepared) if prepared is not None else self.layout.stage("prepare").cohort

    def split(self, name: str) -> Path:
        """The cohort's file of `train`, `validation` or `test`."""
        return self.cohort / f"{name}.parquet"

    def prompts(self, name: str) -> Path:
        """The same split as the models see it: within their budget."""
        return self.layout.stage("prepare").prompts / f"{name}.parquet"

    def model(self, name: str) -> Path:
        """Folder of the model `base`, `sft` or `grpo`."""
        return self.layout.maker(name).model
