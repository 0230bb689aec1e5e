"""What pod and reports say of an attempt, taken over into the status."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from deepicd.spec.progress import Progress
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import Attempt, RunStatus, VerifiedCheckpoint

MAX_CLOCK_SKEW = timedelta(minutes=10)
"""Reports from further in the future are not believed."""
HEARTBEAT_NOTED = timedelta(minutes=10)
"""A report that only says again what is known is written into the status after this time."""


def with_pod(status: RunStatus, attempt: Attempt, snapshot: Snapshot, now: datetime) -> RunStatus:
    """The status with what the pod of the attempt at work says."""
    pod, job = snapshot.pod(attempt.number), snapshot.job(attempt.number)
    if pod is None or not pod.scheduled or (job is not None and job.kind == "RayJob" and not pod.head):
        return status
    running = attempt.running
    started = (snapshot.slowest_pod(attempt.number) or pod).trainer.started
    if running is None and started is not None:
        running = min(started, now)
    name = pod.name if attempt.running is None else attempt.pod
    disruption = snapshot.disruption(attempt.number) or attempt.disruption
    return status.with_attempt(attempt, pod=name, node=pod.node, disruption=disruption, running=running)


def with_reports(status: RunStatus, snapshot: Snapshot, now: datetime) -> RunStatus:
    """The status with what the newest attempt's newest reports say; its last ones may be heard of after its end."""
    attempt, report = status.current, snapshot.progress
    if attempt is None:
        return status
    if snapshot.checkpoint is not None:
        stored = VerifiedCheckpoint(attempt=attempt.number, **snapshot.checkpoint.model_dump())
        before = status.last_verified_checkpoint
        if before is None or (before.attempt, before.time) < (stored.attempt, stored.time):
            status = status.model_copy(update={"last_verified_checkpoint": stored})
    if report is None or not believed(report, now):
        return status
    # One from the future says only that the node's clock was set meanwhile.
    is_old = attempt.reported is not None and report.time < attempt.reported <= now
    return status if is_old or _is_heartbeat(status, attempt, report) else _with_progress(status, attempt, report, now)


def believed(report: Progress, now: datetime) -> bool:
    """Whether a report is not from the future."""
    return report.time <= now + MAX_CLOCK_SKEW


def _with_progress(status: RunStatus, attempt: Attempt, report: Progress, now: datetime) -> RunStatus:
    moved = attempt.progressed is None or (report.stage, report.step) != (status.stage, status.step)
    progressed = now if moved and report.stage is not None else attempt.progressed
    resumed_from = report.resumed_from or attempt.resumed_from
    said = _said(report) | ({"eta_seconds": None} if attempt.end is not None else {})
    said |= {"stage": report.stage or status.stage, "metrics": report.metrics or status.metrics}
    return status.model_copy(update=said).with_attempt(
        attempt, reported=report.time, resumed_from=resumed_from, progressed=progressed
    )


def _is_heartbeat(status: RunStatus, attempt: Attempt, report: Progress) -> bool:
    """Whether a report says nothing new but that the trainer lives: written down seldom, to spare the API server."""
    if attempt.reported is None or report.time - attempt.reported >= HEARTBEAT_NOTED:
        return False
    resumed = report.resumed_from in (None, attempt.resumed_from)
    metrics = report.metrics in (None, status.metrics)
    said = _said(report)
    return all(getattr(status, field) == value for field, value in said.items()) and resumed and metrics and not report.failure


def _said(report: Progress) -> dict[str, Any]:
    """The fields of the status that a report alone decides."""
    eta = None if report.eta_seconds is None else round(report.eta_seconds)
    numbers = {"reward": _rounded(report.reward), "kl": _rounded(report.kl)}
    return {"stage": report.stage, "step": report.step, "steps": report.steps, "eta_seconds": eta, **numbers}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
