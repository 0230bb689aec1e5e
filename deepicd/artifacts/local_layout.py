"""What a local folder holds for the store: complete checkpoints and models, and files that grow.

Two shapes: verl's own checkpoint folder, and the folder of a whole run. Note text is never taken: nothing of a run's tables,
cohort or SFT examples is listed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deepicd.artifacts.layout import TRAINING_STAGES, CheckpointRef, ModelRef, Sealed, evaluation_folder, logs_folder

FINISHED = "run-finished"
"""Written into the folder when nothing more will come."""

TRACKER = "latest_checkpointed_iteration.txt"
"""verl writes it last: the step of the newest complete checkpoint beside it."""
_STEP = "global_step_"
_MARKER = ".durable"


@dataclass(frozen=True)
class Complete:
    """A local folder that nobody writes to any more."""

    folder: Path
    stage: str
    step: int | None
    """None for a model."""

    @property
    def marker(self) -> Path:
        """See `marker_of`."""
        return marker_of(self.folder)

    def ref(self, attempt: int) -> Sealed:
        """What it is in the store."""
        return ModelRef(attempt, self.stage) if self.step is None else CheckpointRef(attempt, self.stage, self.step)

    def __str__(self) -> str:
        return f"{self.stage} model" if self.step is None else f"{self.stage} step {self.step}"


@dataclass(frozen=True)
class Growing:
    """A file that is sent again when it has changed."""

    path: Path
    key: str
    """Below the attempt's folder of its kind."""


class Source(Protocol):
    """A local folder that is uploaded while it is filled. It need not exist yet."""

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
        return list(_checkpoints(self.folder, self.stage))

    def growing(self, attempt: int) -> list[Growing]:
        """Logs and verl's metrics where they are kept beside the checkpoints."""
        logs = logs_folder(attempt)
        found = [*self.folder.glob("*.log"), *self.folder.glob("metrics.jsonl"), *self.folder.glob("metrics/**/*.jsonl")]
        return [Growing(path, f"{logs}/{path.relative_to(self.folder).as_posix()}") for path in sorted(found)]


@dataclass(frozen=True)
class RunFolder:
    """The folder of `deepicd run`."""

    folder: Path

    def complete(self) -> list[Complete]:
        """Complete checkpoints of both training stages, and the models of finished stages."""
        stages = self.folder / "stages"
        found = [item for stage in TRAINING_STAGES for item in _checkpoints(stages / stage / "checkpoints", stage)]
        for stage, model in (("prepare", "base"), *((stage, stage) for stage in TRAINING_STAGES)):
            if (stages / f"{stage}.completed.json").exists() and (stages / stage / "model").is_dir():
                found.append(Complete(stages / stage / "model", model, None))
        return found

    def growing(self, attempt: int) -> list[Growing]:
        """Results of the evaluation; logs and metrics of the stages."""
        results = self.folder / "evaluate"
        found = [
            Growing(path, f"{evaluation_folder(attempt)}/{path.relative_to(results).as_posix()}") for path in _files(results)
        ]
        for stage in (self.folder / "stages").glob("*/"):
            found += [
                Growing(path, f"{logs_folder(attempt)}/{stage.name}/{path.relative_to(stage).as_posix()}")
                for path in (*stage.glob("training.log"), *_files(stage / "metrics"))
            ]
        return sorted(found, key=lambda item: item.key)


def marker_of(folder: Path) -> Path:
    """Beside a folder: it is durable in the store, so training may delete it. Holds the folder's place there."""
    return folder.with_name(folder.name + _MARKER)


def place(item: Complete, ref: Sealed) -> None:
    """Note beside a folder where it is durable."""
    item.marker.write_text(f"{ref.folder}\n")


def drop_markers(folder: Path) -> None:
    """Delete the notes of checkpoints that training has deleted."""
    for marker in folder.glob(f"{_STEP}*{_MARKER}"):
        if not marker.with_suffix("").exists():
            marker.unlink(missing_ok=True)


def last_complete_step(folder: Path) -> int:
    """Step that verl's tracker names, 0 where there is none."""
    try:
        return int((folder / TRACKER).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 0


def set_last_complete_step(folder: Path, step: int) -> None:
    """Write verl's tracker, whole or not at all."""
    temporary = folder / f".{TRACKER}"
    temporary.write_text(str(step))
    temporary.replace(folder / TRACKER)


def checkpoint_folder(folder: Path, step: int) -> Path:
    """verl's folder of one checkpoint."""
    return folder / f"{_STEP}{step}"


def _checkpoints(folder: Path, stage: str) -> Iterator[Complete]:
    last = last_complete_step(folder)
    for path in folder.glob(f"{_STEP}*"):
        step = path.name.removeprefix(_STEP)
        if step.isascii() and step.isdigit() and path.name == f"{_STEP}{int(step)}" and 0 < int(step) <= last and path.is_dir():
            yield Complete(path, stage, int(step))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp" and not path.name.startswith(".")]
