"""What to upload from a local folder: complete checkpoints and models, and files that grow.

There are two kinds of folder: verl's own checkpoint folder, and the folder of a whole run. Note text is not uploaded: a run's
tables, cohort, traces, teacher's answers and SFT examples are not listed, and GRPO's kept completions only on request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deepicd.artifacts.layout import CheckpointRef, Committed, ModelRef, evaluation_folder, logs_folder
from deepicd.run_layout import MODELS, TRAINING_STAGES, CheckpointFolders, RunLayout, StageLayout, durable_mark


@dataclass(frozen=True)
class Complete:
    """A local checkpoint or model that is complete: nothing writes to its folder any more."""

    folder: Path
    stage: str
    step: int | None
    """None for a model."""

    @property
    def marker(self) -> Path:
        """See `durable_mark`."""
        return durable_mark(self.folder)

    def ref(self, attempt: int) -> Committed:
        """Its reference in the store."""
        return ModelRef(attempt, self.stage) if self.step is None else CheckpointRef(attempt, self.stage, self.step)

    def __str__(self) -> str:
        return f"{self.stage} model" if self.step is None else f"{self.stage} step {self.step}"


@dataclass(frozen=True)
class Growing:
    """A file that is sent again whenever it has changed."""

    path: Path
    key: str
    """Key in the store, below the attempt's folder of its kind."""


class Source(Protocol):
    """A local folder that is uploaded while training writes to it. It need not exist yet."""

    @property
    def folder(self) -> Path:
        """The folder."""

    def complete(self) -> list[Complete]:
        """Checkpoints and models that are complete now."""

    def growing(self, attempt: int) -> list[Growing]:
        """Files that may still change."""


@dataclass(frozen=True)
class VerlFolder:
    """verl's checkpoint folder: `global_step_N/…`, and a tracker that it writes last."""

    folder: Path
    stage: str = "grpo"

    def complete(self) -> list[Complete]:
        """Checkpoints up to the step that the tracker names: a newer one is still being written."""
        return list(_checkpoints(CheckpointFolders(self.folder), self.stage))

    def growing(self, attempt: int) -> list[Growing]:
        """Logs and verl's metrics, if they are kept beside the checkpoints."""
        logs = logs_folder(attempt)
        found = [*self.folder.glob("*.log"), *self.folder.glob("metrics.jsonl"), *self.folder.glob("metrics/**/*.jsonl")]
        return [Growing(path, f"{logs}/{path.relative_to(self.folder).as_posix()}") for path in sorted(found)]


@dataclass(frozen=True)
class RunFolder:
    """The folder of `deepicd run`."""

    folder: Path
    rollouts: bool = False
    """Whether GRPO's kept completions are uploaded, which hold note text."""

    def complete(self) -> list[Complete]:
        """Complete checkpoints of both training stages, and the models of finished stages."""
        layout = RunLayout(self.folder)
        found = [item for stage in TRAINING_STAGES for item in _checkpoints(layout.stage(stage).checkpoints, stage)]
        for model in MODELS:
            stage = layout.maker(model)
            if stage.completed.exists() and stage.model.is_dir():
                found.append(Complete(stage.model, model, None))
        return found

    def growing(self, attempt: int) -> list[Growing]:
        """Results of the evaluation; logs, metrics and counts of the stages; TensorBoard's event files."""
        layout = RunLayout(self.folder)
        results = layout.evaluation.folder
        found = [
            Growing(path, f"{evaluation_folder(attempt)}/{path.relative_to(results).as_posix()}") for path in _files(results)
        ]
        found += [
            Growing(path, f"{logs_folder(attempt)}/{path.relative_to(self.folder).as_posix()}")
            for path in _files(layout.tensorboard)
        ]
        for stage in map(StageLayout, layout.stages.glob("*/")):
            logs = [path for path in (stage.log, stage.distill_counts) if path.exists()]
            found += [
                Growing(path, f"{logs_folder(attempt)}/{stage.name}/{path.relative_to(stage.folder).as_posix()}")
                for path in (*logs, *_files(stage.metrics), *(_files(stage.rollouts) if self.rollouts else ()))
            ]
        return sorted(found, key=lambda item: item.key)


def mark_durable(item: Complete, ref: Committed) -> None:
    """Write the mark beside a folder that names its place in the store."""
    item.marker.write_text(f"{ref.folder}\n")


def _checkpoints(folders: CheckpointFolders, stage: str) -> Iterator[Complete]:
    last = folders.last_step
    yield from (Complete(folders.of(step), stage, step) for step in folders.steps() if step <= last)


def _files(folder: Path) -> list[Path]:
    """All files but hidden and unfinished ones; version 0.1.0 left the latter as `.tmp` and `.part` when it was killed."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if path.suffix not in (".tmp", ".part") and not path.name.startswith(".")]
