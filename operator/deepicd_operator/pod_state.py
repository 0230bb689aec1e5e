"""The state of the current attempt's pod: whether it is scheduled, whether its trainer runs, and if not, why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from deepicd.kubernetes.errors import says_quota_exceeded
from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import JobView, PodView, Snapshot
from deepicd_operator.status import Attempt

SLOW_START = timedelta(seconds=10)
"""If a pod has not been created or started by then, its warning events are read: only they show quota and volume problems."""
SLOW_UPLOAD = timedelta(seconds=10)
"""An upload that continues for this long after the trainer's end is shown in the status."""
MANY_RESTARTS = 2
"""An uploader with this many restarts is reported as failing."""
HEALTHY_AFTER = timedelta(minutes=1)
"""It no longer counts as failing after running for this long."""
_CLAIM = re.compile(
    r'(persistentvolumeclaim|storageclass[a-z.0-9]*) "[^"]*" not found|unbound immediate PersistentVolumeClaims'
)
"""Scheduler messages for a missing claim or StorageClass."""
_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


@dataclass(frozen=True)
class PodState:
    """The values of the conditions Scheduled and Running."""

    scheduled: bool
    running: bool
    reason: Reason
    """Why it is not running, or RUNNING."""
    found: str = ""
    look_again: datetime | None = None
    """When this state changes without any change of an object."""


def pod_state(attempt: Attempt, snapshot: Snapshot, now: datetime) -> PodState:
    """Return the state of the attempt's pod."""
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
    """Return how the uploader keeps failing during training; empty if it does not, or has run well for a while."""
    if pod.trainer.ended or pod.sync.restarts < MANY_RESTARTS or pod.sync.exit_code in (None, 0):
        return ""
    healthy = healthy_from(pod)
    return "" if healthy is not None and now >= healthy else f"exit code {pod.sync.exit_code}, {pod.sync.ended_as}"


def healthy_from(pod: PodView) -> datetime | None:
    """Return when a restarted uploader counts as healthy again; None if it does not run or was never restarted."""
    began = pod.sync.running_since
    return began + HEALTHY_AFTER if began is not None and pod.sync.restarts else None
