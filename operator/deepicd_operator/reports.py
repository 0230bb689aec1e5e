"""Copies what an attempt's pod and reports show into the status."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from deepicd.spec.progress import Diagnostics, JudgeTrend, Progress
from deepicd_operator.kinds import RAY_JOB
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import Attempt, RunStatus, VerifiedCheckpoint

MAX_CLOCK_SKEW = timedelta(minutes=10)
"""Reports from further in the future are ignored."""
HEARTBEAT_NOTED = timedelta(minutes=10)
"""A report with nothing new is recorded in the status only after this time."""


def with_pod(status: RunStatus, attempt: Attempt, snapshot: Snapshot, now: datetime) -> RunStatus:
    """Return the status with the data of the current attempt's pod."""
    pod, job = snapshot.pod(attempt.number), snapshot.job(attempt.number)
    if pod is None or not pod.scheduled or (job is not None and job.kind == RAY_JOB and not pod.head):
        return status
    running = attempt.running
    started = (snapshot.slowest_pod(attempt.number) or pod).trainer.started
    if running is None and started is not None:
        running = min(started, now)
    name = pod.name if attempt.running is None else attempt.pod
    disruption = snapshot.disruption(attempt.number) or attempt.disruption
    return status.with_attempt(attempt, pod=name, node=pod.node, disruption=disruption, running=running)


def with_reports(status: RunStatus, snapshot: Snapshot, now: datetime) -> RunStatus:
    """Return the status with the newest reports of the newest attempt. Its last reports may arrive after its end."""
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
    # A recorded time in the future only means that the node's clock has been corrected since.
    is_old = attempt.reported is not None and report.time < attempt.reported <= now
    return status if is_old or _is_heartbeat(status, attempt, report) else _with_progress(status, attempt, report, now)


def believed(report: Progress, now: datetime) -> bool:
    """Whether a report is not from the future."""
    return report.time <= now + MAX_CLOCK_SKEW


def _with_progress(status: RunStatus, attempt: Attempt, report: Progress, now: datetime) -> RunStatus:
    moved = attempt.progressed is None or (report.stage, report.step) != (status.stage, status.step)
    progressed = now if moved and report.stage is not None else attempt.progressed
    resumed_from = report.resumed_from or attempt.resumed_from
    fields = _fields(report) | ({"eta_seconds": None} if attempt.end is not None else {})
    fields |= {"stage": report.stage or status.stage, "metrics": report.metrics or status.metrics}
    fields |= {"judge": _trend(report) or status.judge}
    return status.model_copy(update=fields).with_attempt(
        attempt, reported=report.time, resumed_from=resumed_from, progressed=progressed
    )


def _is_heartbeat(status: RunStatus, attempt: Attempt, report: Progress) -> bool:
    """Whether a report shows only that the trainer is alive: rarely recorded, to spare the API server."""
    if attempt.reported is None or report.time - attempt.reported >= HEARTBEAT_NOTED:
        return False
    resumed = report.resumed_from in (None, attempt.resumed_from)
    metrics = report.metrics in (None, status.metrics) and _trend(report) in (None, status.judge)
    same = all(getattr(status, field) == value for field, value in _fields(report).items())
    return same and resumed and metrics and not report.failure


def _fields(report: Progress) -> dict[str, Any]:
    """Return the fields of the status that depend only on the report."""
    eta = None if report.eta_seconds is None else round(report.eta_seconds)
    numbers = {"reward": _rounded(report.reward), "kl": _rounded(report.kl)}
    known = report.diagnostics
    rounded = None if known is None else Diagnostics(**{name: _rounded(value) for name, value in known})
    place = {"stage": report.stage, "step": report.step, "steps": report.steps, "eta_seconds": eta}
    return place | {"diagnostics": rounded} | numbers


def _trend(report: Progress) -> JudgeTrend | None:
    known = report.judge
    return (
        None
        if known is None
        else known.model_copy(update={name: float(f"{value:.4g}") for name, value in known if name != "diverged"})
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
