"""Layout of a run's folder.

run.yaml                    with every default
lock                        held by the process that executes the run
run-finished                the run has ended: nothing more is written
.deepicd-writer.json        the folder's uploader, and its attempts
judge/verdicts.jsonl        verdicts of the reward's judge, by digests: no text
mlflow.json                 the run's id at the MLflow server
tensorboard/STAGE/          event files
teacher/answers.jsonl       answers of the teacher of `distill`; they quote notes
stages/STAGE.inputs.json    the inputs of the stage
stages/STAGE.completed.json the stage is finished
stages/STAGE/               see `StageLayout`
evaluate/                   see `EvaluationLayout`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepicd import atomic

TRAINING_STAGES = ("sft", "grpo")
"""Stages with checkpoints, in the order of training."""
MODELS = ("base", *TRAINING_STAGES)
"""Models of a run, in the order of training."""
CARDS = ("README.md", "tripod-llm.md")
"""Files of a trained model that say what it is: written by each evaluation, so they are no part of the stored model."""
_STEP = "global_step_"
_DURABLE = ".durable"


def usual_folder(run: str) -> Path:
    """The default folder of a run."""
    return Path("runs") / run


class UploadedFolder:
    """Files of training and the uploader in a folder that is uploaded: a run's, or verl's own checkpoint folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.finished = folder / "run-finished"
        self.writer = folder / f"{atomic.PREFIX}writer.json"
        self.writer_lock = folder / f"{atomic.PREFIX}writer.json.lock"


class RunLayout(UploadedFolder):
    """Paths in the folder of a run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.spec = folder / "run.yaml"
        self.lock = folder / "lock"
        self.stages = folder / "stages"
        self.judge = folder / "judge"
        self.mlflow = folder / "mlflow.json"
        self.tensorboard = folder / "tensorboard"
        self.teacher = folder / "teacher"
        self.evaluation = EvaluationLayout(folder / "evaluate")

    def stage(self, name: str) -> StageLayout:
        """The folder of one stage."""
        return StageLayout(self.stages / name)

    def maker(self, model: str) -> StageLayout:
        """The folder of the stage that makes a model: `base`, `sft` or `grpo`."""
        return self.stage("prepare" if model == "base" else model)


class StageLayout:
    """Paths in and beside the folder of one stage."""

    LOG, METRICS, DISTILL_COUNTS = "training.log", "metrics", "distill.json"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.inputs = folder.with_name(f"{folder.name}.inputs.json")
        self.completed = folder.with_name(f"{folder.name}.completed.json")
        # Of every stage but `evaluate`.
        self.model = folder / "model"
        # Of every stage but `prepare`.
        self.log = folder / self.LOG
        self.metrics = folder / self.METRICS
        self.loop_entered = folder / "loop-entered"
        self.phases = folder / "phases.jsonl"
        # Of `distill`.
        self.distilled = folder / "traces.jsonl"
        self.distill_counts = folder / self.DISTILL_COUNTS
        self.example_counts = folder / "examples.json"
        self.later = folder / "later.sqlite"
        self.teacher_log = folder / "teacher.log"
        # Of `prepare`.
        self.tables = folder / "tables"
        self.cohort = folder / "cohort"
        self.prompts = folder / "prompts"
        # Of `prepare`, or of `distill` if the run has it.
        self.traces = folder / "sft.parquet"
        self.trace_counts = folder / "traces.json"
        self.model_log = folder / "model.log"
        # Of `distill`, `grpo` and `evaluate`.
        self.plan = folder / "plan.json"
        self.parts = folder / "answers"
        self.answer_seconds = folder / "seconds.json"
        self.baselines = folder / "baselines"
        # Of `grpo` and `evaluate`.
        self.judge_log = folder / "judge.log"
        self.second_judge_log = folder / "second-judge.log"
        self.judged = self.metrics / "judge.jsonl"
        # Of `grpo`, with note text.
        self.rollouts = folder / "rollouts"
        # Of `grpo`.
        self.difficulty = folder / "difficulty" / "difficulty.json"
        # Of the training stages.
        self.checkpoints = CheckpointFolders(folder / "checkpoints")
        self.nodes_log = folder / "nodes.log"
        # Of `sft` with a validation.
        self.sft_end = self.metrics / "end.json"
        self.stop_request = folder / "stop-requested"
        self.loop_left = folder / "loop-left"
        self.failure = folder / "failure.json"
        self.waiting_for_disk = folder / "waiting-for-disk"


class EvaluationLayout:
    """Paths of the results of the stage `evaluate`."""

    METRICS, REPORT, CARDS = "metrics.json", "report.html", "cards"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.predictions = folder / "predictions.parquet"
        self.metrics = folder / self.METRICS
        self.comparisons = folder / "comparisons.json"
        self.classes = folder / "by_class.parquet"
        self.curves = folder / "curves.jsonl"
        self.about = folder / "about.json"
        self.report = folder / self.REPORT
        self.cards = folder / self.CARDS


@dataclass(frozen=True)
class CheckpointFolders:
    """verl's checkpoint folder: `global_step_N/…`, and a tracker that verl writes last."""

    folder: Path

    @property
    def tracker(self) -> Path:
        """File with the step of the newest complete checkpoint."""
        return self.folder / "latest_checkpointed_iteration.txt"

    def of(self, step: int) -> Path:
        """The folder of one checkpoint."""
        return self.folder / f"{_STEP}{step}"

    def steps(self) -> list[int]:
        """Steps of all folders, ascending: those after `last_step` are not complete."""
        found = (path.name.removeprefix(_STEP) for path in self.folder.glob(f"{_STEP}*") if path.is_dir())
        return sorted(int(step) for step in found if step.isascii() and step.isdigit() and step == str(int(step)) != "0")

    @property
    def last_step(self) -> int:
        """Step of the newest complete checkpoint, which the tracker names; 0 if there is none."""
        try:
            return int(self.tracker.read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return 0

    @property
    def last(self) -> Path:
        """Folder of the newest complete checkpoint."""
        return self.of(self.last_step)

    def set_last_step(self, step: int) -> None:
        """Write the tracker."""
        atomic.write(self.tracker, str(step))

    def drop_marks(self) -> None:
        """Delete the `durable_mark` of checkpoints that training has deleted."""
        for mark in self.folder.glob(f"{_STEP}*{_DURABLE}"):
            if not mark.with_suffix("").exists():
                mark.unlink(missing_ok=True)


def durable_mark(folder: Path) -> Path:
    """The mark of a checkpoint or model that is durable in the store, so training may delete it. Holds its folder there."""
    return folder.with_name(folder.name + _DURABLE)
