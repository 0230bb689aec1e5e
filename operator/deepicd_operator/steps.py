"""Whether a running attempt still makes steps, and whether its reports arrive.

The trainer's own supervisor ends an attempt that makes no steps; the operator covers a trainer whose supervisor hangs too.
A trainer reports at every `HEARTBEAT`. If reports stop, this does not show a stall: something keeps them from the API server,
and ending the attempt would lose its work.
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
"""The operator waits this much longer than `stallAfter`, so that the trainer's own supervisor, which knows more, acts first."""
SILENCE = timedelta(minutes=3)
"""After this time without a report, the trainer counts as silent: three heartbeats."""
LOOK_AGAIN = timedelta(minutes=5)
"""Time between repairs of the objects that reports need, while none arrive."""


@dataclass(frozen=True)
class Steps:
    """The condition `StepsStalled`, and what follows."""

    stalled: bool | None
    """None if the reports do not show it."""
    reason: Reason
    found: str
    look_again: datetime
    """When this state changes without any change of an object."""
    ends_attempt: bool = False


def steps(status: RunStatus, snapshot: Snapshot, recovery: RecoverySpec, now: datetime) -> Steps | None:
    """Return whether the current attempt makes steps; None before its trainer runs and after it has ended."""
    attempt, pod = status.current, snapshot.pod(status.attempt)
    since = (attempt.progressed or attempt.running) if attempt is not None else None
    if attempt is None or since is None or (pod is not None and pod.trainer.ended):
        return None
    report = snapshot.progress
    times = [attempt.reported, report.time if report is not None and believed(report, now) else None]
    heard = max((time for time in times if time is not None), default=None)
    if heard is not None and status.stage == "prepare":
        # This stage makes no steps, but it must report: otherwise stalls of the next stages could not be detected.
        silent_from = heard + SILENCE + timedelta(seconds=1)
        return _no_report(heard, now) if now >= silent_from else Steps(False, Reason.PREPARING, "", silent_from)
    wait = recovery.stall_after if heard is not None else min(recovery.stall_after, SILENCE)
    suspected, certain = since + wait, since + recovery.stall_after + STALL_SLACK
    if now < suspected:
        return Steps(False, Reason.STEPPING, "", suspected)
    if heard is None or now - heard > SILENCE:
        return _no_report(heard, now)
    # A report from before a step was due does not show that the step is missing: later reports may have been lost.
    ends = now >= certain and heard >= suspected
    return Steps(True, Reason.STALLED, f"since {since:%Y-%m-%d %H:%M:%S} UTC", max(certain, now + STALL_SLACK), ends)


def _no_report(heard: datetime | None, now: datetime) -> Steps:
    last = f"the last one at {heard:%Y-%m-%d %H:%M:%S} UTC" if heard is not None else "none has arrived"
    return Steps(None, Reason.NO_REPORT, last, now + LOOK_AGAIN)
