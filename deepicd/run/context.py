"""What every stage is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepicd.spec.run import DeepICDRun
from deepicd.training.step_metrics import StepMetrics
from deepicd.training.supervise import Stop


@dataclass(frozen=True)
class Context:
    """One run at work."""

    run: DeepICDRun
    folder: Path
    """The run's folder."""
    stop: Stop
    on_step: Callable[[StepMetrics, int | None], None]
    """Called with each step of a stage and the number of steps it will have made."""

    @property
    def spec_file(self) -> Path:
        """The resolved run.yaml in the run's folder."""
        return self.folder / "run.yaml"

    def stage_folder(self, stage: str) -> Path:
        """The folder of one stage."""
        return self.folder / "stages" / stage

    @property
    def cohort(self) -> Path:
        """Folder with train, validation and test.parquet."""
        prepared = self.run.spec.data.prepared
        return Path(prepared) if prepared is not None else self.stage_folder("prepare") / "cohort"

    @property
    def base_model(self) -> Path:
        """The model that training starts from."""
        return self.stage_folder("prepare") / "model"

    @property
    def traces(self) -> Path:
        """SFT's training file."""
        return self.stage_folder("prepare") / "sft.parquet"
