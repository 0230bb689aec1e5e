"""Whether a running attempt still makes steps, and whether it can say so.

The trainer's own supervisor ends an attempt that makes no step; the operator is there for a trainer that hangs too hard for
that. A trainer sends its report again every `HEARTBEAT`, so reports that stop coming say nothing about steps: something
keeps them from the API server, and ending the attempt would lose its work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from deepicd.spec.recovery import RecoverySpec
from deepicd_operator.reasons import Reason
from deepicd_operator.reports import believed
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import RunStatus

STALL_SLACK = timedelta(minutes=1)
"""How much longer than `stallAfter` the operator waits: the trainer's own supervisor knows more, and comes first."""
SILENCE = timedelta(minutes=3)
"""Longest time without a report in which the trainer still counts as heard: three heartbeats."""
LOOK_AGAIN = timedelta(minutes=5)
"""While reports do not arrive: time between repairs of what they need."""


@dataclass(frozen=True)
class Steps:
    """The condition `StepsStalled`, and what follows."""

    stalled: bool | None
    """None where no report says."""
    reason: Reason
    found: str
    look_again: datetime
    """When this will be something else, though nothing changes."""
    ends_attempt: bool = False


def steps(status: RunStatus, snapshot: Snapshot, recovery: RecoverySpec, now: datetime) -> Steps | None:
    """Whether the attempt at work makes steps; None before its trainer runs and after it has ended."""
    attempt, pod = status.current, snapshot.pod(status.attempt)
    since = (attempt.progressed or attempt.running) if attempt is not None else None
    if attempt is None or since is None or (pod is not None and pod.trainer.ended):
        return None
    report = snapshot.progress
    times = [attempt.reported, report.time if report is not None and believed(report, now) else None]
    heard = max((time for time in times if time is not None), default=None)
    if heard is not None and status.stage == "prepare":
        # It makes no steps, but it is heard of: what follows could not be, if reports did not arrive.
        silent_from = heard + SILENCE + timedelta(seconds=1)
        return _unheard(heard, now) if now >= silent_from else Steps(False, Reason.PREPARING, "", silent_from)
    wait = recovery.stall_after if heard is not None else min(recovery.stall_after, SILENCE)
    suspected, certain = since + wait, since + recovery.stall_after + STALL_SLACK
    if now < suspected:
        return Steps(False, Reason.STEPPING, "", suspected)
    if heard is None or now - heard > SILENCE:
        return _unheard(heard, now)
    # A report from before a step was due does not say that it is missing: the next ones may have been lost.
    ends = now >= certain and heard >= suspected
    return Steps(True, Reason.STALLED, f"since {since:%Y-%m-%d %H:%M:%S} UTC", max(certain, now + STALL_SLACK), ends)


def _unheard(heard: datetime | None, now: datetime) -> Steps:
    last = f"the last one was of {heard:%Y-%m-%d %H:%M:%S} UTC" if heard is not None else "none ever arrived"
    return Steps(None, Reason.NO_REPORT, last, now + LOOK_AGAIN)
