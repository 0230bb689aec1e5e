"""Whether a running attempt still makes steps, and whether it can say so.

The trainer's own supervisor ends an attempt that makes no step; the operator is there for a trainer that hangs too hard for
that. A trainer sends its report again every `HEARTBEAT`, so reports that stop coming say nothing about steps: something
keeps them from the API server, and ending the attempt would lose its work.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from deepicd.spec.recovery import RecoverySpec
from deepicd_operator.attempt_result import AttemptResult
from deepicd_operator.conditions import ConditionType
from deepicd_operator.reasons import Reason
from deepicd_operator.status import Attempt
from deepicd_operator.turn import Turn

STALL_SLACK = timedelta(minutes=1)
"""How much longer than `stallAfter` the operator waits: the trainer's own supervisor knows more, and comes first."""
SILENCE = timedelta(minutes=3)
"""Longest time without a report in which the trainer still counts as heard: three heartbeats."""
LOOK_AGAIN = timedelta(minutes=5)
"""While reports do not arrive: time between repairs of what they need."""


def stalled(turn: Turn, attempt: Attempt, recovery: RecoverySpec) -> AttemptResult | None:
    """Set the condition `StepsStalled`; why the attempt must be stopped, or None."""
    since = attempt.progressed or attempt.running
    if since is None:
        return None
    heard = _last_heard(turn, attempt)
    if heard is not None and turn.status.stage == "prepare":
        _prepares(turn, heard)
        return None
    wait = recovery.stall_after if heard is not None else min(recovery.stall_after, SILENCE)
    suspected, certain = since + wait, since + recovery.stall_after + STALL_SLACK
    if turn.now < suspected:
        turn.condition(ConditionType.STEPS_STALLED, False, Reason.STEPPING)
        turn.look_again_at(suspected)
        return None
    if heard is None or turn.now - heard > SILENCE:
        _is_not_heard(turn, heard)
        return None
    turn.condition(ConditionType.STEPS_STALLED, True, Reason.STALLED, f"since {since:%Y-%m-%d %H:%M:%S} UTC")
    # A report from before a step was due does not say that it is missing: the next ones may have been lost.
    if turn.now < certain or heard < suspected:
        turn.look_again_at(max(certain, turn.now + STALL_SLACK))
        return None
    return AttemptResult(Reason.STALLED, f"since {since:%Y-%m-%d %H:%M:%S} UTC")


def _prepares(turn: Turn, heard: datetime) -> None:
    """`prepare` makes no steps, but it is heard of: what follows could not be, if reports did not arrive."""
    silent_from = heard + SILENCE + timedelta(seconds=1)
    if turn.now >= silent_from:
        _is_not_heard(turn, heard)
        return
    turn.condition(ConditionType.STEPS_STALLED, False, Reason.PREPARING)
    turn.look_again_at(silent_from)


def _is_not_heard(turn: Turn, heard: datetime | None) -> None:
    last = f"the last one was of {heard:%Y-%m-%d %H:%M:%S} UTC" if heard is not None else "none ever arrived"
    turn.condition(ConditionType.STEPS_STALLED, None, Reason.NO_REPORT, last)
    turn.look_again_at(turn.now + LOOK_AGAIN)


def is_silent(turn: Turn) -> bool:
    """Whether reports of the attempt do not arrive, as `stalled` found."""
    return any(each.type == ConditionType.STEPS_STALLED and each.reason == Reason.NO_REPORT for each in turn.status.conditions)


def _last_heard(turn: Turn, attempt: Attempt) -> datetime | None:
    report = turn.snapshot.progress
    times = [attempt.reported, report.time if report is not None and turn.believes(report) else None]
    return max((time for time in times if time is not None), default=None)
