"""The status of a run: what users read, and all that the operator needs after a restart."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationError

from deepicd.spec.progress import Checkpoint, Diagnostics, JudgeTrend, LevelMetrics, StageName
from deepicd_operator.conditions import Conditions, StatusModel

State = Literal["Pending", "Running", "Suspended", "Succeeded", "Failed"]
MAX_ATTEMPTS = 20
"""Number of attempts listed; older ones are summed up in `earlier`."""


class Attempt(StatusModel):
    """One try of the run: one Job, one pod (or one RayJob)."""

    number: int = Field(ge=1)
    """Number of the attempt, from 1."""
    start: AwareDatetime
    """When it started."""
    pod: str | None = Field(default=None, max_length=253)
    """Name of its pod, once known."""
    node: str | None = Field(default=None, max_length=253)
    """Node that the pod was scheduled to."""
    disruption: str | None = Field(default=None, max_length=256)
    """Why the cluster disrupts the pod, if it does; recorded because the pod may be gone when its Job ends."""
    running: AwareDatetime | None = None
    """When its trainer started: GPU-hours are counted from then."""
    progressed: AwareDatetime | None = None
    """When it last made a step or started a stage."""
    reported: AwareDatetime | None = None
    """When it last reported."""
    end: AwareDatetime | None = None
    """When it ended."""
    reason: str | None = Field(default=None, max_length=64)
    """Why it ended, or why it is being stopped."""
    message: str | None = Field(default=None, max_length=1024)
    """What was found, and the remedy."""
    exit_code: int | None = None
    """Exit code of the trainer, or of the uploader if only that failed."""
    counted: bool = True
    """Whether it counts towards `recovery.maxAttempts`. Attempts before a change that restarted a failed run do not."""
    gpus: int = Field(default=0, ge=0)
    """GPUs that it uses, on all nodes."""
    resumed_from: str | None = Field(default=None, max_length=2048)
    """Checkpoint that it resumed from, as its trainer reported; until then, the last verified one."""
    volume: str | None = Field(default=None, max_length=253)
    """PersistentVolumeClaim with the run's folder: while it runs, and afterwards if not everything was stored."""
    spec: str | None = Field(default=None, max_length=64)
    """SHA-256 of the spec that its pod was created from, without the fields that only the operator uses."""
    generation: int | None = None
    """Newest generation of the spec with the same pod."""

    def is_outdated(self, generation: int) -> bool:
        """Whether the spec of that generation describes a different pod."""
        return self.generation is not None and self.generation < generation

    def seconds(self, until: datetime) -> float:
        """Return the seconds from its start to its end, or to `until` if it has not ended."""
        return max(0.0, ((self.end or until) - self.start).total_seconds())

    def gpu_hours(self, until: datetime) -> float:
        """Return GPUs times hours since its trainer started."""
        if self.running is None:
            return 0.0
        return self.gpus * max(0.0, ((self.end or until) - self.running).total_seconds()) / 3600


class Earlier(StatusModel):
    """Totals of the attempts that are no longer listed."""

    attempts: int = 0
    """Number of attempts."""
    counted: int = 0
    """Number of those that count."""
    seconds: float = 0
    """Seconds they took."""
    gpu_hours: float = 0
    """GPU-hours they used."""


class VerifiedCheckpoint(Checkpoint):
    """The newest verified checkpoint in the store, of any attempt."""

    attempt: int = Field(ge=1)
    """Attempt that saved it."""


class Columns(StatusModel):
    """Texts for the columns of `kubectl get`."""

    step: str = Field(default="", max_length=64)
    """Steps done and total steps."""
    reward: str = Field(default="", max_length=32)
    """Mean reward of the last step."""
    kl: str = Field(default="", max_length=32)
    """KL divergence of the last step."""
    f1_category: str = Field(default="", max_length=32)
    """Macro F1 of categories."""
    eta: str = Field(default="", max_length=32)
    """Time left in the stage."""
    gpu_hours: str = Field(default="", max_length=32)
    """GPU-hours."""
    checkpoint: str = Field(default="", max_length=64)
    """Stage and step of the last verified checkpoint."""


class RunStatus(StatusModel):
    """Status of the run."""

    observed_generation: int = 0
    """Generation of the spec that this status refers to."""
    state: State = "Pending"
    """The conditions in one word."""
    reason: str = Field(default="", max_length=64)
    """Why the run is in that state."""
    stage: StageName | None = None
    """Current stage, or the last one."""
    step: int | None = None
    """Steps that the stage has done."""
    steps: int | None = None
    """Total steps of the stage."""
    reward: float | None = None
    """Mean reward of the last step."""
    kl: float | None = None
    """KL divergence of the last step."""
    eta_seconds: int | None = None
    """Time left in the stage."""
    diagnostics: Diagnostics | None = None
    """What the last training step says about whether it learns and how fast."""
    judge: JudgeTrend | None = None
    """How the reward's judge and the outcome have moved in GRPO."""
    metrics: LevelMetrics | None = None
    """Macro F1 on the test split at three levels."""
    attempt: int = 0
    """Number of the newest attempt; 0 before the first."""
    attempts: tuple[Attempt, ...] = Field(default=(), max_length=MAX_ATTEMPTS)
    """The newest attempts, oldest first."""
    earlier: Earlier = Earlier()
    """Attempts before those."""
    retry_at: AwareDatetime | None = None
    """When the next attempt starts."""
    last_verified_checkpoint: VerifiedCheckpoint | None = None
    """The checkpoint that the next attempt resumes from."""
    gpu_hours: float = 0
    """GPU-hours of all attempts, up to the last report."""
    cost: float | None = None
    """`gpuHours` times `compute.pricePerGpuHour`."""
    start_time: AwareDatetime | None = None
    """When the first attempt started."""
    completion_time: AwareDatetime | None = None
    """When the run succeeded or failed."""
    conditions: Conditions = Field(default=(), max_length=16)
    """Conditions of the run, with reasons."""
    columns: Columns = Columns()
    """Texts for the columns of `kubectl get`."""

    @property
    def current(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def finished(self) -> bool:
        """Whether the run has succeeded, or has failed and its spec has not changed since."""
        return self.state in ("Succeeded", "Failed")

    @property
    def counted_attempts(self) -> int:
        """Ended attempts that count towards `recovery.maxAttempts`."""
        return self.earlier.counted + sum(attempt.counted for attempt in self.attempts if attempt.end is not None)

    def with_attempt(self, attempt: Attempt, **fields: Any) -> RunStatus:
        """Return the status with changed fields of a listed attempt."""
        changed = attempt.model_copy(update=fields)
        attempts = tuple(changed if each.number == attempt.number else each for each in self.attempts)
        return self.model_copy(update={"attempts": attempts})

    def with_new_attempt(self, attempt: Attempt) -> RunStatus:
        """Return the status with a new attempt. Attempts beyond `MAX_ATTEMPTS` are summed up, oldest first."""
        attempts, earlier, start = (*self.attempts, attempt), self.earlier, attempt.start
        while len(attempts) > MAX_ATTEMPTS:
            old, attempts = attempts[0], attempts[1:]
            earlier = Earlier(
                attempts=earlier.attempts + 1,
                counted=earlier.counted + old.counted,
                seconds=earlier.seconds + old.seconds(start),
                gpu_hours=earlier.gpu_hours + old.gpu_hours(start),
            )
        fields = {"attempt": attempt.number, "attempts": attempts, "earlier": earlier, "retry_at": None}
        return self.model_copy(update={**fields, "start_time": self.start_time or start})

    def seconds(self, until: datetime) -> float:
        """Return the total time of all attempts, in seconds."""
        return self.earlier.seconds + sum(attempt.seconds(until) for attempt in self.attempts)


def read_status(raw: Any) -> RunStatus | None:
    """Parse an object's status. None if it cannot be read: treating it as empty would start the run from scratch."""
    try:
        return RunStatus.model_validate(raw or {})
    except ValidationError:
        return None


def write_status(status: RunStatus) -> dict[str, Any]:
    """Return the status in the API server's form."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
