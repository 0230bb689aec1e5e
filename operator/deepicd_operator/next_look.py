"""When to reconcile a run again without any change: times that follow from its status, its pod and its reports."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from deepicd_operator.accepted import Accepted
from deepicd_operator.pod_state import healthy_from, pod_state
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import RunStatus
from deepicd_operator.steps import steps


def next_look(accepted: Accepted, status: RunStatus, snapshot: Snapshot, now: datetime) -> datetime | None:
    """Return the first of these times that is in the future, or None."""
    return min((when for when in _times(accepted, status, snapshot, now) if when is not None and when > now), default=None)


def _times(accepted: Accepted, status: RunStatus, snapshot: Snapshot, now: datetime) -> Iterator[datetime | None]:
    recovery, attempt = accepted.recovery, status.current
    if status.finished:
        if recovery.ttl_after_finished is not None and status.completion_time is not None:
            yield status.completion_time + recovery.ttl_after_finished
        return
    yield status.retry_at
    yield snapshot.refusal.until if snapshot.refusal is not None else None
    if attempt is None or attempt.end is not None or attempt.reason is not None:
        return
    if recovery.deadline is not None:
        yield now + recovery.deadline - timedelta(seconds=status.seconds(now))
    yield pod_state(attempt, snapshot, now).look_again
    if (made := steps(status, snapshot, recovery, now)) is not None:
        yield made.look_again
    if (pod := snapshot.pod(attempt.number)) is not None:
        yield healthy_from(pod)
        if pod.trainer.ended:  # containers that keep the pod are stopped at that time
            yield (pod.trainer.ended_at or attempt.start) + recovery.grace_period
