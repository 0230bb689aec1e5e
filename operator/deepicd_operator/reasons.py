"""Every reason of a condition, an event or an attempt: its meaning, the remedy, and what the operator does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """What the operator does about a reason."""

    CONTINUE = "continue"
    """Nothing is wrong."""
    WAIT = "wait"
    """The attempt waits, and continues once the cause is gone."""
    RETRY = "retry"
    """After a back-off, a new attempt resumes from the last verified checkpoint; the old one counts."""
    RETRY_FREE = "retry, not counted"
    """A new attempt resumes from the last verified checkpoint. The old one, which the cluster disrupted, does not count."""
    STOP = "stop"
    """The run has failed."""


@dataclass(frozen=True)
class Explanation:
    """The documentation of a reason."""

    rule: Rule
    meaning: str
    remedy: str = ""


class Reason(StrEnum):
    """One word that tools can rely on. `reason.explanation` is for people."""

    # The spec.
    VALID = "Valid"
    INVALID_SPEC = "InvalidSpec"
    UNKNOWN_FIELD = "UnknownField"
    NOT_ALLOWED = "NotAllowed"
    CANNOT_PLAN = "CannotPlan"
    # Before a pod runs.
    CREATED = "Created"
    QUEUED = "Queued"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    POD_REFUSED = "PodRefused"
    NAME_TAKEN = "NameTaken"
    API_REFUSED = "ApiRefused"
    SCHEDULED = "Scheduled"
    STARTING = "Starting"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONFIG_MISSING = "ConfigMissing"
    VOLUME_MISSING = "VolumeMissing"
    BACK_OFF = "BackOff"
    # While it runs.
    RUNNING = "Running"
    UPLOADING = "Uploading"
    IN_PROGRESS = "InProgress"
    NO_REPORT = "NoReport"
    PREPARING = "Preparing"
    STEPPING = "Stepping"
    UPLOADED = "Uploaded"
    UPLOADER_FAILING = "UploaderFailing"
    NO_CHECKPOINT = "NoCheckpoint"
    NO_STORAGE = "NoStorage"
    STABLE = "Stable"
    JUDGE_CONSISTENT = "JudgeConsistent"
    JUDGE_DIVERGED = "JudgeDiverged"
    STOPPING = "Stopping"
    # How an attempt or a run ended.
    COMPLETED = "Completed"
    SUSPENDED = "Suspended"
    BAD_INPUT = "BadInput"
    REWARD_CODE_FAILED = "RewardCodeFailed"
    REWARD_COLLAPSED = "RewardCollapsed"
    IMAGE_NAME_INVALID = "ImageNameInvalid"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
    CRASHED = "Crashed"
    NOT_A_NUMBER = "NotANumber"
    GPU_OUT_OF_MEMORY = "GpuOutOfMemory"
    STALLED = "Stalled"
    STORE_UNREACHABLE = "StoreUnreachable"
    JUDGE_UNREACHABLE = "JudgeUnreachable"
    TEACHER_UNREACHABLE = "TeacherUnreachable"
    UPLOAD_FAILED = "UploadFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    OUT_OF_DISK = "OutOfDisk"
    TERMINATED = "Terminated"
    POD_DELETED = "PodDeleted"
    JOB_DELETED = "JobDeleted"
    EVICTED = "Evicted"
    SPEC_CHANGED = "SpecChanged"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"

    @property
    def explanation(self) -> Explanation:
        """Meaning, remedy and rule."""
        return EXPLANATIONS[self]

    @property
    def rule(self) -> Rule:
        """What the operator does."""
        return EXPLANATIONS[self].rule

    def message(self, found: str = "") -> str:
        """Return the message of a condition: meaning, what was found, remedy."""
        explanation = EXPLANATIONS[self]
        parts = [explanation.meaning + (f" ({shorten(found)})" if found else ""), explanation.remedy]
        return ": ".join(part for part in parts if part)


MAX_FOUND = 600


def shorten(text: str) -> str:
    """Return the text as one line of at most `MAX_FOUND` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_FOUND else line[: MAX_FOUND - 1] + "…"


_CHANGE = "a change of the spec starts the next attempt"
_OTHERWISE = "what defines the result cannot change: give the corrected run another name"
_CONTINUE, _WAIT, _RETRY, _FREE, _STOP = Rule.CONTINUE, Rule.WAIT, Rule.RETRY, Rule.RETRY_FREE, Rule.STOP

EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.VALID: Explanation(_CONTINUE, "the spec is valid"),
    Reason.INVALID_SPEC: Explanation(_WAIT, "the spec breaks the schema", "fix the named field and apply the run again"),
    Reason.UNKNOWN_FIELD: Explanation(
        _WAIT, "the spec has a field that this operator does not know", "upgrade the operator, or remove the field"
    ),
    Reason.NOT_ALLOWED: Explanation(
        _WAIT,
        "the operator does not allow what the run asks for",
        "change the named field, or ask whoever installed the operator to allow it (the chart's runs values)",
    ),
    Reason.CANNOT_PLAN: Explanation(
        _WAIT,
        "the operator failed on this run",
        "change the named field; if the spec is right, report the message as a bug of the operator",
    ),
    Reason.CREATED: Explanation(_CONTINUE, "the attempt's Job is created; its pod has no node yet"),
    Reason.QUEUED: Explanation(
        _WAIT, "Kueue has not admitted the attempt yet", "see the Workload's conditions, or choose another compute.queue"
    ),
    Reason.UNSCHEDULABLE: Explanation(
        _WAIT, "no node has room for the pod", "free or add nodes, or lower compute.gpus, compute.cpu or compute.memory"
    ),
    Reason.QUOTA_EXCEEDED: Explanation(
        _WAIT, "the namespace's quota refuses the pod", "free or raise the ResourceQuota, or lower the requests in compute"
    ),
    Reason.POD_REFUSED: Explanation(
        _WAIT, "the API server refuses the pod", "change what the message names, usually in compute.podTemplatePatch"
    ),
    Reason.NAME_TAKEN: Explanation(
        _WAIT,
        "an object that does not belong to the run already has a name that the run needs",
        "wait if it is being deleted; otherwise delete it, or give the run another name",
    ),
    Reason.API_REFUSED: Explanation(
        _WAIT, "the API server refuses an object of the run", "fix what the message names (spec.compute, the operator's RBAC)"
    ),
    Reason.SCHEDULED: Explanation(_CONTINUE, "the pod has a node"),
    Reason.STARTING: Explanation(_CONTINUE, "the containers are being started"),
    Reason.IMAGE_PULL_FAILED: Explanation(
        _WAIT, "the image cannot be pulled", "correct compute.image or compute.imagePullSecrets, or push the image"
    ),
    Reason.CONFIG_MISSING: Explanation(
        _WAIT, "a container's configuration is missing", "create the Secret or key that compute.env names"
    ),
    Reason.VOLUME_MISSING: Explanation(
        _WAIT,
        "a volume of the pod does not exist or cannot be mounted",
        "create the Secret, ConfigMap, claim or StorageClass that storage.s3.credentials.secretName, compute.dataVolumes, "
        "compute.modelCache or compute.scratch.storageClass names",
    ),
    Reason.BACK_OFF: Explanation(_CONTINUE, "the next attempt starts after a wait"),
    Reason.RUNNING: Explanation(_CONTINUE, "the trainer runs"),
    Reason.UPLOADING: Explanation(_CONTINUE, "the trainer has ended; the uploader stores the rest"),
    Reason.IN_PROGRESS: Explanation(_CONTINUE, "the run is neither suspended nor finished"),
    Reason.NO_REPORT: Explanation(
        _WAIT,
        "the trainer runs, but its reports do not arrive, so stalls cannot be detected",
        "see the trainer's log; let its pods reach the API server (the chart's apiServer.ports, other NetworkPolicies) "
        "and keep the attempt's ServiceAccount, Role and RoleBinding",
    ),
    Reason.PREPARING: Explanation(_CONTINUE, "the stage `prepare` makes no steps, so stalls cannot be detected"),
    Reason.STEPPING: Explanation(_CONTINUE, "the stage makes steps"),
    Reason.UPLOADED: Explanation(
        _CONTINUE, "a checkpoint is in the store: every file has its full size, and S3 has verified the CRC-32 of every part"
    ),
    Reason.UPLOADER_FAILING: Explanation(
        _WAIT,
        "the uploader keeps failing, so nothing new is stored",
        "see the log of the container sync; raise compute.uploader.memoryLimit if it ran out of memory",
    ),
    Reason.NO_CHECKPOINT: Explanation(_CONTINUE, "no checkpoint is durable yet: a lost attempt would start from scratch"),
    Reason.NO_STORAGE: Explanation(
        _CONTINUE,
        "spec.storage is not given: results are only on the attempt's volume, and a lost attempt starts from scratch",
        "give spec.storage",
    ),
    Reason.STABLE: Explanation(_CONTINUE, "no collapse of the reward has been detected"),
    Reason.JUDGE_CONSISTENT: Explanation(_CONTINUE, "the judge's mean has not risen while the outcome did not"),
    Reason.JUDGE_DIVERGED: Explanation(
        _WAIT,
        "the judge's mean rises in GRPO and the share of right answers does not",
        "read completions (stages.grpo.keepRollouts) and compare the judge with experts (deepicd judge --verdicts); a run with "
        "another reward.judge or a smaller reward.weights.judge needs another name",
    ),
    Reason.STOPPING: Explanation(_CONTINUE, "the pod saves a checkpoint, uploads it and stops"),
    Reason.COMPLETED: Explanation(_CONTINUE, "all stages are finished"),
    Reason.SUSPENDED: Explanation(_WAIT, "the run is suspended", "set spec.suspend to false to resume"),
    Reason.BAD_INPUT: Explanation(
        _STOP, "spec, data or model must be changed", f"fix what the message names; {_CHANGE}; {_OTHERWISE}"
    ),
    Reason.REWARD_CODE_FAILED: Explanation(_STOP, "the reward's code raised an error", f"fix the reward; {_OTHERWISE}"),
    Reason.REWARD_COLLAPSED: Explanation(
        _STOP,
        "the reward collapsed, as defined by recovery.rewardCollapse",
        f"raise recovery.rewardCollapse.drop: {_CHANGE}; or lower stages.grpo.learningRate or raise klLossCoefficient; "
        f"{_OTHERWISE}",
    ),
    Reason.NOT_A_NUMBER: Explanation(_STOP, "loss or reward is not a number", f"lower the stage's learningRate; {_OTHERWISE}"),
    Reason.GPU_OUT_OF_MEMORY: Explanation(
        _STOP,
        "a GPU ran out of memory",
        "lower maxTokensPerGpu or microBatchSizePerGpu of the stage, lower stages.grpo.gpuMemoryUtilization, or turn on "
        f"stages.grpo.offloadParameters or offloadOptimizer: {_CHANGE}",
    ),
    Reason.IMAGE_NAME_INVALID: Explanation(_STOP, "compute.image is not an image name", f"correct compute.image: {_CHANGE}"),
    Reason.DEADLINE_EXCEEDED: Explanation(
        _STOP,
        "the attempts together took longer than recovery.deadline",
        f"raise recovery.deadline: {_CHANGE}",
    ),
    Reason.ATTEMPTS_EXHAUSTED: Explanation(
        _STOP,
        "recovery.maxAttempts attempts have failed",
        f"fix what the attempts' reasons name, or raise maxAttempts: {_CHANGE}",
    ),
    Reason.CRASHED: Explanation(_RETRY, "a process of the training stack failed", "see the pod's log if it happens again"),
    Reason.STALLED: Explanation(
        _RETRY,
        "no step for recovery.stallAfter, or for recovery.idleAfter on idle GPUs",
        "see the pod's log; raise recovery.stallAfter or recovery.idleAfter if steps take that long",
    ),
    Reason.STORE_UNREACHABLE: Explanation(
        _RETRY, "the store could not be reached", "check storage.s3.endpoint, the bucket, its credentials and the NetworkPolicy"
    ),
    Reason.JUDGE_UNREACHABLE: Explanation(
        _RETRY,
        "the reward's judge could not be reached, or too many of its verdicts were missing",
        "check reward.judge.endpoint, its server and key, and the NetworkPolicy; or set reward.judge.onFailure to skip",
    ),
    Reason.TEACHER_UNREACHABLE: Explanation(
        _RETRY,
        "the teacher of stages.distill could not be reached, or gave no answer for its giveUpAfter",
        "check stages.distill.teacher.endpoint, its server, its limits and the NetworkPolicy; the answers so far are kept",
    ),
    Reason.UPLOAD_FAILED: Explanation(
        _RETRY,
        "the uploader did not store everything",
        "see the log of the container sync; raise compute.uploader.memoryLimit if it ran out of memory",
    ),
    Reason.OUT_OF_MEMORY: Explanation(
        _RETRY,
        "the container used more than its memory limit, or its node ran out of memory",
        "raise compute.memory, or lower microBatchSizePerGpu",
    ),
    Reason.OUT_OF_DISK: Explanation(
        _RETRY,
        "the pod wrote more than it may, or its node ran out of disk",
        "raise compute.scratch.size or name a compute.scratch.storageClass, or lower keepCheckpoints",
    ),
    Reason.TERMINATED: Explanation(_RETRY, "the trainer was asked to stop", "see the pod's events for the cause"),
    Reason.POD_DELETED: Explanation(_RETRY, "the pod was deleted from outside", "set spec.suspend to true to stop a run"),
    Reason.JOB_DELETED: Explanation(
        _RETRY, "the attempt's Job was deleted from outside", "set spec.suspend to true to stop a run"
    ),
    Reason.EVICTED: Explanation(_FREE, "the pod was evicted from its node", "see the pod's events for the cause"),
    Reason.SPEC_CHANGED: Explanation(
        _FREE, "the spec has changed since the attempt began", "the next attempt uses the new spec"
    ),
    Reason.PREEMPTED: Explanation(
        _FREE, "a pod of higher priority preempted this one", "give the run a higher compute.priorityClass"
    ),
    Reason.NODE_LOST: Explanation(_FREE, "the pod's node is gone or does not respond", "none: the run continues elsewhere"),
}
