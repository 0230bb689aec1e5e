"""Why a running attempt must be stopped. Deleting its Job gives the pod its grace period for a last checkpoint."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from deepicd.spec.recovery import RecoverySpec
from deepicd.spec.run import RunSpec
from deepicd_operator.accepted import Accepted
from deepicd_operator.attempt_result import AttemptResult, doomed
from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import Attempt, RunStatus
from deepicd_operator.steps import steps

_OPERATOR_FIELDS: Any = {"suspend": True, "recovery": {"max_attempts", "backoff", "deadline", "ttl_after_finished"}}
"""Fields that only the operator uses; changes take effect immediately."""


def why_stop(
    status: RunStatus, attempt: Attempt, accepted: Accepted, snapshot: Snapshot, now: datetime
) -> AttemptResult | None:
    """Return the reason that the current attempt must end with, or None if it may continue."""
    recovery, pod = accepted.recovery, snapshot.pod(attempt.number)
    if (hopeless := doomed(attempt, snapshot, recovery.grace_period, now)) is not None:
        return hopeless
    succeeded = pod is not None and not pod.head and pod.trainer.ended and pod.trainer.exit_code == 0
    if pod is not None and succeeded and now < (pod.trainer.ended_at or attempt.start) + recovery.grace_period:
        return None  # only the uploader still runs, and its kubelet stops it in time unless the node is lost
    if accepted.suspended:
        return AttemptResult(Reason.SUSPENDED)
    if accepted.can_create and attempt.running is None and attempt.is_outdated(snapshot.generation):
        return AttemptResult(Reason.SPEC_CHANGED)
    if is_late(status, recovery, now):
        return AttemptResult(Reason.DEADLINE_EXCEEDED)
    made = steps(status, snapshot, recovery, now)
    return AttemptResult(Reason.STALLED, made.found) if made is not None and made.ends_attempt else None


def is_late(status: RunStatus, recovery: RecoverySpec, now: datetime) -> bool:
    """Whether the attempts together have taken `recovery.deadline`."""
    return recovery.deadline is not None and status.seconds(now) >= recovery.deadline.total_seconds()


def digest(spec: RunSpec) -> str:
    """Return a digest of the spec that a pod is created from, 64 characters. Fields at their defaults do not change it."""
    return hashlib.sha256(spec.model_dump_json(exclude_defaults=True, exclude=_OPERATOR_FIELDS).encode()).hexdigest()
