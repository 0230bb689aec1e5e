"""The status of a run: what a user reads, and all that the operator needs to know after a restart."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationError

from deepicd.spec.progress import Checkpoint, LevelMetrics, StageName
from deepicd_operator.conditions import Conditions, StatusModel

State = Literal["Pending", "Running", "Suspended", "Succeeded", "Failed"]
MAX_ATTEMPTS = 20
"""Attempts that are listed; older ones are summed up in `earlier`."""


class Attempt(StatusModel):
    """One try of the run: one Job, one pod (or one RayJob)."""

    number: int = Field(ge=1)
    """Number of the attempt, from 1."""
    start: AwareDatetime
    """When it was begun."""
    pod: str | None = Field(default=None, max_length=253)
    """Name of its pod, once that was seen."""
    node: str | None = Field(default=None, max_length=253)
    """Node that the pod was placed on."""
    disruption: str | None = Field(default=None, max_length=256)
    """Why the cluster takes the pod, once that was seen: the pod may be gone when its Job ends."""
    running: AwareDatetime | None = None
    """When its trainer began to run: GPU-hours are counted from here."""
    progressed: AwareDatetime | None = None
    """When it last made a step, or began a stage."""
    reported: AwareDatetime | None = None
    """When it last reported."""
    end: AwareDatetime | None = None
    """When it ended."""
    reason: str | None = Field(default=None, max_length=64)
    """Why it ended, or why it is being stopped."""
    message: str | None = Field(default=None, max_length=1024)
    """What was found, and the remedy."""
    exit_code: int | None = None
    """Exit code of the trainer, or of the uploader where that alone failed."""
    counted: bool = True
    """Whether it counts towards `recovery.maxAttempts`: none does from before a change that started a failed run again."""
    gpus: int = Field(default=0, ge=0)
    """GPUs it holds, on all nodes."""
    resumed_from: str | None = Field(default=None, max_length=2048)
    """Checkpoint that it went on from, by its trainer; before that has said so, the last verified one."""
    volume: str | None = Field(default=None, max_length=253)
    """PersistentVolumeClaim with the run's folder: while it runs, and after that where not all of it was stored."""
    spec: str | None = Field(default=None, max_length=64)
    """SHA-256 of what its pod was made from: the spec without what the operator alone obeys."""
    generation: int | None = None
    """Newest generation of the spec that says the same of its pod."""

    def is_outdated(self, generation: int) -> bool:
        """Whether its pod would be another one by the spec of that generation."""
        return self.generation is not None and self.generation < generation

    def seconds(self, until: datetime) -> float:
        """Time from its begin to its end, or until a time where it has not ended."""
        return max(0.0, ((self.end or until) - self.start).total_seconds())

    def gpu_hours(self, until: datetime) -> float:
        """GPUs times hours since its trainer began to run."""
        if self.running is None:
            return 0.0
        return self.gpus * max(0.0, ((self.end or until) - self.running).total_seconds()) / 3600


class Earlier(StatusModel):
    """Attempts that are no longer listed, summed up."""

    attempts: int = 0
    """How many."""
    counted: int = 0
    """How many of them count."""
    seconds: float = 0
    """Time they took."""
    gpu_hours: float = 0
    """GPU-hours they took."""


class VerifiedCheckpoint(Checkpoint):
    """The newest checkpoint in the store that was verified, whichever attempt made it."""

    attempt: int = Field(ge=1)
    """Attempt that made it."""


class Columns(StatusModel):
    """What `kubectl get` shows."""

    step: str = Field(default="", max_length=64)
    """Steps made and to make."""
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
    """What is known about the run."""

    observed_generation: int = 0
    """Generation of the spec that this was written for."""
    state: State = "Pending"
    """The conditions in one word."""
    reason: str = Field(default="", max_length=64)
    """Why it is in that state."""
    stage: StageName | None = None
    """Stage at work, or the last one."""
    step: int | None = None
    """Steps that the stage has made."""
    steps: int | None = None
    """Steps that the stage will have made."""
    reward: float | None = None
    """Mean reward of the last step."""
    kl: float | None = None
    """KL divergence of the last step."""
    eta_seconds: int | None = None
    """Time left in the stage."""
    metrics: LevelMetrics | None = None
    """Macro F1 on the test split at three levels."""
    attempt: int = 0
    """Number of the newest attempt; 0 before the first."""
    attempts: tuple[Attempt, ...] = Field(default=(), max_length=MAX_ATTEMPTS)
    """The newest attempts, oldest first."""
    earlier: Earlier = Earlier()
    """Attempts before those."""
    retry_at: AwareDatetime | None = None
    """When the next attempt begins."""
    last_verified_checkpoint: VerifiedCheckpoint | None = None
    """The checkpoint that the next attempt goes on from."""
    gpu_hours: float = 0
    """GPUs times hours, over all attempts, up to the last report."""
    cost: float | None = None
    """`gpuHours` times `compute.pricePerGpuHour`."""
    start_time: AwareDatetime | None = None
    """When the first attempt began."""
    completion_time: AwareDatetime | None = None
    """When the run succeeded or failed."""
    conditions: Conditions = Field(default=(), max_length=16)
    """What is known, with reasons."""
    columns: Columns = Columns()
    """What `kubectl get` shows."""

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
        """The status with fields of a listed attempt changed."""
        changed = attempt.model_copy(update=fields)
        attempts = tuple(changed if each.number == attempt.number else each for each in self.attempts)
        return self.model_copy(update={"attempts": attempts})

    def with_new_attempt(self, attempt: Attempt) -> RunStatus:
        """The status with an attempt that begins; the oldest listed ones are summed up."""
        attempts, earlier, begins = (*self.attempts, attempt), self.earlier, attempt.start
        while len(attempts) > MAX_ATTEMPTS:
            old, attempts = attempts[0], attempts[1:]
            earlier = Earlier(
                attempts=earlier.attempts + 1,
                counted=earlier.counted + old.counted,
                seconds=earlier.seconds + old.seconds(begins),
                gpu_hours=earlier.gpu_hours + old.gpu_hours(begins),
            )
        fields = {"attempt": attempt.number, "attempts": attempts, "earlier": earlier, "retry_at": None}
        return self.model_copy(update={**fields, "start_time": self.start_time or begins})

    def seconds(self, until: datetime) -> float:
        """Time that the attempts took together, in seconds."""
        return self.earlier.seconds + sum(attempt.seconds(until) for attempt in self.attempts)


def read_status(raw: Any) -> RunStatus | None:
    """The status in an object; None where it cannot be read: to take it for empty would begin the run anew."""
    try:
        return RunStatus.model_validate(raw or {})
    except ValidationError:
        return None


def write_status(status: RunStatus) -> dict[str, Any]:
    """The status as the API server keeps it."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
