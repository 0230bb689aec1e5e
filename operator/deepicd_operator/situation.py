"""Where an attempt that goes on stands: is its pod placed, does its trainer run, and if not, why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from deepicd.kubernetes.errors import says_quota_exceeded
from deepicd_operator.observed import JobView, Observed, PodView
from deepicd_operator.reasons import Reason
from deepicd_operator.status import Attempt

SLOW_START = timedelta(seconds=10)
"""When a pod is not made or not started by then, its warnings are read: quotas and volumes show nowhere else."""
SLOW_UPLOAD = timedelta(seconds=10)
"""An upload that goes on for so long after its trainer's end is shown."""
_CLAIM = re.compile(
    r'(persistentvolumeclaim|storageclass[a-z.0-9]*) "[^"]*" not found|unbound immediate PersistentVolumeClaims'
)
"""What the scheduler says where a claim or its StorageClass does not exist."""
_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


@dataclass(frozen=True)
class Situation:
    """Two conditions: placed, and running."""

    scheduled: bool
    running: bool
    reason: Reason
    """Why it is not running, or that it is."""
    found: str = ""
    look_again: datetime | None = None
    """When this will be something else, though nothing changes."""


def situation(attempt: Attempt, observed: Observed, now: datetime) -> Situation:
    """Where the attempt stands."""
    job, pod = observed.job(attempt.number), observed.pod(attempt.number)
    if attempt.running is None:
        pod = observed.slowest_pod(attempt.number)
    if not observed.complete and observed.refusal is not None:
        scheduled = pod is not None and pod.scheduled
        return Situation(scheduled, False, observed.refusal.reason, observed.refusal.message)
    if job is None or pod is None:
        return Situation(False, False, Reason.CREATED) if job is None else _without_pod(job, observed.trouble)
    if not pod.scheduled:
        return _unplaced(pod)
    if attempt.running is not None or pod.trainer.running_since is not None:
        return _running(attempt, pod, now)
    return _starting(pod, observed.trouble)


def _running(attempt: Attempt, pod: PodView, now: datetime) -> Situation:
    shown = None
    if pod.trainer.ended and pod.uploads:
        shown = (pod.trainer.ended_at or attempt.start) + SLOW_UPLOAD
        if now >= shown:
            return Situation(True, True, Reason.UPLOADING, pod.name)
    return Situation(True, True, Reason.RUNNING, f"{pod.name} on {pod.node}", shown)


def _without_pod(job: JobView, trouble: str) -> Situation:
    if job.suspended:
        return Situation(False, False, Reason.QUEUED)
    if trouble:
        reason = Reason.QUOTA_EXCEEDED if says_quota_exceeded(trouble) else Reason.POD_REFUSED
        return Situation(False, False, reason, trouble)
    return Situation(False, False, Reason.CREATED)


def _unplaced(pod: PodView) -> Situation:
    if pod.unscheduled_reason == "SchedulingGated":
        return Situation(False, False, Reason.QUEUED, pod.unscheduled_message)
    if pod.unscheduled_reason:
        reason = Reason.VOLUME_MISSING if _CLAIM.search(pod.unscheduled_message) else Reason.UNSCHEDULABLE
        return Situation(False, False, reason, pod.unscheduled_message)
    return Situation(False, False, Reason.CREATED)


def _starting(pod: PodView, trouble: str) -> Situation:
    for container in (pod.sync, pod.trainer):
        if container.waiting in _IMAGE:
            return Situation(True, False, Reason.IMAGE_PULL_FAILED, container.message or container.waiting)
        if container.waiting in _CONFIG:
            return Situation(True, False, Reason.CONFIG_MISSING, container.message or container.waiting)
    if trouble:
        return Situation(True, False, Reason.VOLUME_MISSING, trouble)
    return Situation(True, False, Reason.STARTING)
