"""What an attempt reports while it runs, in the ConfigMap `<run>-a<attempt>-progress`.

`progress.json` is the trainer's, `checkpoint.json` the uploader's; each writes at most every ten seconds. `upload.json` is the
uploader's last report. The operator creates the ConfigMap and turns it into the run's status. A process that fails writes the
same `Failure` to its termination log, which reaches the operator where the ConfigMap could not be written.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

PROGRESS_KEY = "progress.json"
CHECKPOINT_KEY = "checkpoint.json"
UPLOAD_KEY = "upload.json"
MAX_PROGRESS_BYTES = 16 * 1024
"""A longer report is not read."""

StageName = Literal["prepare", "distill", "sft", "grpo", "evaluate"]


class FailureCode(StrEnum):
    """Why an attempt failed, as the trainer knows it. Without one the exit code decides."""

    BAD_INPUT = "BadInput"
    """Spec, data, model or disk: the user must change something (exit code 64)."""
    REWARD_CODE = "RewardCodeFailed"
    """The reward's code raised: a run is never scored by a reward that does not work."""
    REWARD_COLLAPSE = "RewardCollapsed"
    """The reward collapsed by the rule of `recovery.rewardCollapse`."""
    NOT_A_NUMBER = "NotANumber"
    """Loss or reward is not a number."""
    GPU_OUT_OF_MEMORY = "GpuOutOfMemory"
    """A GPU ran out of memory (exit code 64)."""
    OUT_OF_MEMORY = "OutOfMemory"
    """The machine ran out of memory, or the container reached its limit; not a GPU."""
    STALL = "Stalled"
    """A stage made no step for `recovery.stallAfter`, or for `recovery.idleAfter` on idle GPUs."""
    STORE = "StoreUnreachable"
    """The store could not be reached, or kept failing."""
    JUDGE = "JudgeUnreachable"
    """The reward's judge could not be reached, or too many of its verdicts were missing."""
    TEACHER = "TeacherUnreachable"
    """The teacher of `stages.distill` could not be reached, or gave no answer for its `giveUpAfter`."""
    TERMINATED = "Terminated"
    """The process was asked to end (SIGTERM)."""
    CRASH = "Crashed"
    """A process of the training stack failed."""


class _Report(BaseModel):
    # An older operator ignores what a newer trainer adds.
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )


R = TypeVar("R", bound=_Report)


class Failure(_Report):
    """Why an attempt failed."""

    code: FailureCode
    """Kind of the failure."""
    message: str = Field(max_length=1024)
    """One line: field or file, finding, remedy; never note text."""


class LevelMetrics(_Report):
    """Macro F1 of the last finished evaluation on the test split, at three levels, each in [0, 1]."""

    chapter: float | None = Field(default=None, ge=0, le=1)
    """Macro F1 of chapters."""
    category: float | None = Field(default=None, ge=0, le=1)
    """Macro F1 of categories (first three characters)."""
    code: float | None = Field(default=None, ge=0, le=1)
    """Macro F1 of full codes."""


class Diagnostics(_Report):
    """What a training stage's last step says about whether it learns and how fast; each has the name of its column in
    curves.jsonl. A value that is not known is left out.
    """

    gradient_norm: float | None = Field(default=None, allow_inf_nan=False)
    """Norm of the gradient before it is clipped."""
    entropy: float | None = Field(default=None, allow_inf_nan=False)
    """Mean entropy of the policy per token, in nats."""
    clipped: float | None = Field(default=None, allow_inf_nan=False)
    """Share of tokens whose probability ratio was clipped."""
    rollout_difference: float | None = Field(default=None, allow_inf_nan=False)
    """Mean absolute difference between the trainer's and vLLM's probability of a token."""
    response_tokens: float | None = Field(default=None, allow_inf_nan=False)
    """Mean length of the completions."""
    truncated: float | None = Field(default=None, allow_inf_nan=False)
    """Share of completions that reached the token limit."""
    groups_without_variance: float | None = Field(default=None, allow_inf_nan=False)
    """Share of groups whose completions all have the same reward."""
    tokens_per_second: float | None = Field(default=None, allow_inf_nan=False)
    """Tokens of the step, with prompts, by its duration."""
    mfu: float | None = Field(default=None, allow_inf_nan=False)
    """Share of the GPUs' peak speed that the update used."""
    gpu_memory: float | None = Field(default=None, allow_inf_nan=False)
    """Most memory that PyTorch has held on one GPU in training, in GiB."""
    gpu_hours_left: float | None = Field(default=None, allow_inf_nan=False)
    """GPU-hours to the end of the stage."""
    second_judge: float | None = Field(default=None, allow_inf_nan=False)
    """Mean of the second judge in the last validation."""
    judges_agreed: float | None = Field(default=None, allow_inf_nan=False)
    """Share of equal answers of the two judges in the last validation."""
    judges_kappa: float | None = Field(default=None, allow_inf_nan=False)
    """Cohen's kappa of the two judges in the last validation."""


class JudgeTrend(_Report):
    """How the judge and the outcome have moved in GRPO: means of the first and the last quarter of its steps so far."""

    judge_from: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Mean of the judge's term at first."""
    judge_to: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Mean of the judge's term at last."""
    right_from: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Share of right answers at first."""
    right_to: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Share of right answers at last."""
    diverged: bool
    """Whether the judge's mean rose and the share of right answers did not."""

    def __str__(self) -> str:
        verb = "rose" if self.judge_to > self.judge_from else "went"
        return (
            f"the judge's mean {verb} from {self.judge_from:.2f} to {self.judge_to:.2f}, "
            f"and the share of right answers went from {self.right_from:.2f} to {self.right_to:.2f}"
        )


class Checkpoint(_Report):
    """A checkpoint in the store: its files have their sizes there, S3 has compared the CRC-32 of every part."""

    stage: StageName
    """Stage that it belongs to."""
    step: int = Field(ge=0)
    """Step that it was saved after."""
    uri: str = Field(max_length=2048)
    """Its address in the store."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of its manifest."""
    time: AwareDatetime
    """When its manifest was written."""


class Upload(_Report):
    """How the uploader of an attempt ended."""

    complete: bool
    """Whether everything that the attempt left is in the store."""
    missing: str | None = Field(default=None, max_length=1024)
    """What is not stored, such as `grpo step 10, logs`."""
    time: AwareDatetime
    """When this was written."""


class Progress(_Report):
    """One report of an attempt."""

    stage: StageName | None = None
    """Current stage."""
    step: int | None = Field(default=None, ge=0, lt=2**53)
    """Steps that the stage has made."""
    steps: int | None = Field(default=None, ge=0, lt=2**53)
    """Total number of steps of the stage."""
    reward: float | None = Field(default=None, allow_inf_nan=False)
    """Mean reward of the last step."""
    kl: float | None = Field(default=None, allow_inf_nan=False)
    """KL divergence of the last step."""
    eta_seconds: float | None = Field(default=None, ge=0, lt=1e9)
    """Time left in the stage."""
    diagnostics: Diagnostics | None = None
    """What the last training step says about whether it learns and how fast."""
    judge: JudgeTrend | None = None
    """How the reward's judge and the outcome have moved, once there are enough steps."""
    metrics: LevelMetrics | None = None
    """Results of the evaluation, once there are any."""
    resumed_from: str | None = Field(default=None, max_length=2048)
    """The stored checkpoint that the attempt resumed from."""
    failure: Failure | None = None
    """Why the attempt is about to end."""
    time: AwareDatetime
    """When this was written."""


def progress_name(run: str, attempt: int) -> str:
    """Name of the ConfigMap of an attempt."""
    return f"{run}-a{attempt}-progress"


def read_progress(text: str) -> Progress | None:
    """The report, or None if the text is not one: the run's own pod writes it, and may write anything."""
    return _read(Progress, text)


def read_checkpoint(text: str) -> Checkpoint | None:
    """The newest checkpoint that the uploader stored, or None if the text is not a checkpoint."""
    return _read(Checkpoint, text)


def read_upload(text: str) -> Upload | None:
    """How the uploader ended, or None if the text does not say."""
    return _read(Upload, text)


def read_failure(text: str) -> Failure | None:
    """The failure in a termination log, or None if the text is not one."""
    return _read(Failure, text[:4096])


def _read(model: type[R], text: str) -> R | None:
    if len(text) > MAX_PROGRESS_BYTES:
        return None
    try:
        return model.model_validate_json(text)
    except (ValidationError, ValueError, RecursionError):
        return None


def write(report: Progress | Checkpoint | Upload | Failure) -> str:
    """The report as one line of JSON, for the ConfigMap or the termination log (`/dev/termination-log`)."""
    return report.model_dump_json(by_alias=True, exclude_none=True)
