"""Layout of a run in the store, relative to the run's root: `<prefix>/<run>/<run uid>`.

latest.json                                        the newest checkpoint
attempts/<n>/writer.json                           the process that writes this attempt
attempts/<n>/checkpoints/step-000050/…             a GRPO checkpoint: verl's files and manifest.json
attempts/<n>/sft-checkpoints/step-000050/…         an SFT checkpoint
attempts/<n>/models/<stage>/…                      the model of a finished stage, with its manifest.json
attempts/<n>/evaluation/…, attempts/<n>/logs/…     files that are replaced as they grow
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from deepicd.run_layout import MODELS, TRAINING_STAGES, EvaluationLayout, StageLayout

LATEST = "latest.json"
MANIFEST = "manifest.json"
ATTEMPTS = "attempts/"

_CHECKPOINTS = {"sft": "sft-checkpoints", "grpo": "checkpoints"}
_NUMBER = r"[1-9][0-9]*"
_CHECKPOINT = re.compile(rf"attempts/({_NUMBER})/(checkpoints|sft-checkpoints)/step-([0-9]{{6}}|[1-9][0-9]{{6,}})/(.+)", re.S)
_MODEL = re.compile(rf"attempts/({_NUMBER})/models/({'|'.join(MODELS)})/(.+)", re.S)
_ATTEMPT = re.compile(rf"attempts/({_NUMBER})/", re.S)


@total_ordering
@dataclass(frozen=True)
class CheckpointRef:
    """One checkpoint of a run. A later one is greater: by attempt, then stage, then step."""

    attempt: int
    stage: str
    """`sft` or `grpo`."""
    step: int

    @property
    def folder(self) -> str:
        """The checkpoint's folder in the store, without a slash at its end."""
        return f"{attempt_folder(self.attempt)}/{_CHECKPOINTS[self.stage]}/step-{self.step:06d}"

    def __lt__(self, other: CheckpointRef) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, int, int]:
        return self.attempt, TRAINING_STAGES.index(self.stage), self.step

    def __str__(self) -> str:
        return f"attempt {self.attempt}, {self.stage} step {self.step}"


@total_ordering
@dataclass(frozen=True)
class ModelRef:
    """The model of a finished stage of an attempt."""

    attempt: int
    stage: str
    """`base`, `sft` or `grpo`."""

    @property
    def folder(self) -> str:
        """The model's folder in the store, without a slash at its end."""
        return f"{attempt_folder(self.attempt)}/models/{self.stage}"

    def __lt__(self, other: ModelRef) -> bool:
        return (self.attempt, MODELS.index(self.stage)) < (other.attempt, MODELS.index(other.stage))

    def __str__(self) -> str:
        return f"attempt {self.attempt}, {self.stage} model"


Committed = CheckpointRef | ModelRef
"""An artefact that exists only once its manifest is written."""


def attempt_folder(attempt: int) -> str:
    """Folder of one attempt, without a slash at its end."""
    return f"attempts/{attempt}"


def writer_key(attempt: int) -> str:
    """Key of the claim of an attempt."""
    return f"{attempt_folder(attempt)}/writer.json"


def evaluation_folder(attempt: int) -> str:
    """Folder of an attempt's metrics, report and predictions."""
    return f"{attempt_folder(attempt)}/evaluation"


def report_key(attempt: int) -> str:
    """Key of the report of an attempt's evaluation."""
    return f"{evaluation_folder(attempt)}/{EvaluationLayout.REPORT}"


def evaluation_metrics_key(attempt: int) -> str:
    """Key of the metrics of an attempt's evaluation."""
    return f"{evaluation_folder(attempt)}/{EvaluationLayout.METRICS}"


def cards_folder(attempt: int, stage: str) -> str:
    """Folder of the cards of a stage's model, as an attempt's evaluation wrote them."""
    return f"{evaluation_folder(attempt)}/{EvaluationLayout.CARDS}/{stage}"


def logs_folder(attempt: int) -> str:
    """Folder of an attempt's logs and training metrics, with a folder for each stage."""
    return f"{attempt_folder(attempt)}/logs"


def step_metrics_folder(attempt: int, stage: str) -> str:
    """Folder of the step metrics of an attempt's stage."""
    return f"{logs_folder(attempt)}/{stage}/{StageLayout.METRICS}"


def kind_of(key: str) -> str:
    """`logs` or `evaluation`: the folder of a growing file, by its key."""
    return key.split("/")[2]


def manifest_key(ref: Committed) -> str:
    """Key of the manifest that commits a checkpoint or model."""
    return f"{ref.folder}/{MANIFEST}"


def parse_committed(key: str) -> tuple[Committed, str] | None:
    """The checkpoint or model that a key belongs to, and the path inside its folder; None for any other key."""
    if match := _CHECKPOINT.fullmatch(key):
        stage = next(name for name, folder in _CHECKPOINTS.items() if folder == match[2])
        return CheckpointRef(int(match[1]), stage, int(match[3])), match[4]
    if match := _MODEL.fullmatch(key):
        return ModelRef(int(match[1]), match[2]), match[3]
    return None


def parse_folder(folder: str) -> Committed | None:
    """The checkpoint or model whose folder this is."""
    found = parse_committed(f"{folder}/{MANIFEST}")
    return found[0] if found else None


def parse_attempt(key: str) -> int | None:
    """The attempt that a key belongs to."""
    match = _ATTEMPT.match(key)
    return int(match[1]) if match else None
