"""Where an attempt that goes on stands: is its pod placed, does its trainer run, and if not, why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from deepicd.kubernetes.errors import says_quota_exceeded
from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import JobView, PodView, Snapshot
from deepicd_operator.status import Attempt

SLOW_START = timedelta(seconds=10)
"""When a pod is not made or not started by then, its warnings are read: quotas and volumes show nowhere else."""
SLOW_UPLOAD = timedelta(seconds=10)
"""An upload that goes on for so long after its trainer's end is shown."""
MANY_RESTARTS = 2
"""An uploader that was started again so often is said to be failing."""
RUNS_WELL = timedelta(minutes=1)
"""How long it runs until it is not."""
_CLAIM = re.compile(
    r'(persistentvolumeclaim|storageclass[a-z.0-9]*) "[^"]*" not found|unbound immediate PersistentVolumeClaims'
)
"""What the scheduler says where a claim or its StorageClass does not exist."""
_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


@dataclass(frozen=True)
class PodState:
    """Two conditions: placed, and running."""

    scheduled: bool
    running: bool
    reason: Reason
    """Why it is not running, or that it is."""
    found: str = ""
    look_again: datetime | None = None
    """When this will be something else, though nothing changes."""


def pod_state(attempt: Attempt, snapshot: Snapshot, now: datetime) -> PodState:
    """Where the attempt stands."""
    job, pod = snapshot.job(attempt.number), snapshot.pod(attempt.number)
    if attempt.running is None:
        pod = snapshot.slowest_pod(attempt.number)
    if not snapshot.complete and snapshot.refusal is not None:
        scheduled = pod is not None and pod.scheduled
        return PodState(scheduled, False, snapshot.refusal.reason, snapshot.refusal.message)
    if job is None or pod is None:
        return PodState(False, False, Reason.CREATED) if job is None else _without_pod(job, snapshot.trouble)
    if not pod.scheduled:
        return _unplaced(pod)
    if attempt.running is not None or pod.trainer.running_since is not None:
        return _running(attempt, pod, now)
    return _starting(pod, snapshot.trouble)


def _running(attempt: Attempt, pod: PodView, now: datetime) -> PodState:
    shown = None
    if pod.trainer.ended and pod.uploads:
        shown = (pod.trainer.ended_at or attempt.start) + SLOW_UPLOAD
        if now >= shown:
            return PodState(True, True, Reason.UPLOADING, pod.name)
    return PodState(True, True, Reason.RUNNING, f"{pod.name} on {pod.node}", shown)


def _without_pod(job: JobView, trouble: str) -> PodState:
    if job.suspended:
        return PodState(False, False, Reason.QUEUED)
    if trouble:
        reason = Reason.QUOTA_EXCEEDED if says_quota_exceeded(trouble) else Reason.POD_REFUSED
        return PodState(False, False, reason, trouble)
    return PodState(False, False, Reason.CREATED)


def _unplaced(pod: PodView) -> PodState:
    if pod.unscheduled_reason == "SchedulingGated":
        return PodState(False, False, Reason.QUEUED, pod.unscheduled_message)
    if pod.unscheduled_reason:
        reason = Reason.VOLUME_MISSING if _CLAIM.search(pod.unscheduled_message) else Reason.UNSCHEDULABLE
        return PodState(False, False, reason, pod.unscheduled_message)
    return PodState(False, False, Reason.CREATED)


def _starting(pod: PodView, trouble: str) -> PodState:
    for container in (pod.sync, pod.trainer):
        if container.waiting in _IMAGE:
            return PodState(True, False, Reason.IMAGE_PULL_FAILED, container.message or container.waiting)
        if container.waiting in _CONFIG:
            return PodState(True, False, Reason.CONFIG_MISSING, container.message or container.waiting)
    if trouble:
        return PodState(True, False, Reason.VOLUME_MISSING, trouble)
    return PodState(True, False, Reason.STARTING)


def failing_uploader(pod: PodView, now: datetime) -> str:
    """How the uploader keeps ending while training goes on; empty where it does not, or has run for a while since."""
    if pod.trainer.ended or pod.sync.restarts < MANY_RESTARTS or pod.sync.exit_code in (None, 0):
        return ""
    well = runs_well_from(pod)
    return "" if well is not None and now >= well else f"exit code {pod.sync.exit_code}, {pod.sync.ended_as}"


def runs_well_from(pod: PodView) -> datetime | None:
    """When an uploader that was started again counts as well; None where it does not run, or never failed."""
    began = pod.sync.running_since
    return began + RUNS_WELL if began is not None and pod.sync.restarts else None
