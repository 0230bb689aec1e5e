"""Derives the rest of the status from a run's attempts: state, conditions, totals and columns.

Two facts are not in the status and come from the snapshot: the state of the current attempt's pod, and whether its uploader
keeps failing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from deepicd_operator.accepted import Accepted
from deepicd_operator.columns import columns
from deepicd_operator.conditions import ConditionType, Finding, finding, merged
from deepicd_operator.pod_state import failing_uploader, pod_state
from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import Attempt, RunStatus, State
from deepicd_operator.steps import steps

Conditions = dict[ConditionType, Finding | None]
"""Conditions to set or (None) to remove; the others stay."""


@dataclass(frozen=True)
class Standing:
    """A run's state in one word, its reason, and the conditions that show it."""

    state: State
    reason: Reason
    conditions: Conditions = field(default_factory=dict)


def summarized(status: RunStatus, accepted: Accepted, snapshot: Snapshot, now: datetime) -> RunStatus:
    """Return the complete status."""
    before, generation = snapshot.status, snapshot.generation
    over = before.finished and status.finished
    standing = _standing(status, accepted, snapshot, now)
    status = status.model_copy(
        update={"state": standing.state, "reason": str(standing.reason), "observed_generation": generation}
    )
    conditions = standing.conditions | _durable(status, accepted, snapshot, now)
    if not status.finished:
        conditions[ConditionType.FAILED] = None
    if not over:
        conditions[ConditionType.ACCEPTED] = finding(accepted.is_valid, accepted.reason, accepted.found)
        status = _with_costs(status, accepted)
        conditions |= _of_the_judge(status, accepted)
    conditions |= _for_tools(status, accepted)
    status = status.model_copy(update={"conditions": merged(status.conditions, conditions, now, generation)})
    return status.model_copy(update={"columns": columns(status)})


def _standing(status: RunStatus, accepted: Accepted, snapshot: Snapshot, now: datetime) -> Standing:
    attempt, before = status.current, snapshot.status
    if before.finished and status.finished:
        return Standing(status.state, Reason(status.reason))
    if attempt is not None and attempt.end is None:
        return _at_work(status, attempt, accepted, snapshot, now)
    conditions = _of_the_end(status, before)
    if status.finished:
        return _finished(status, conditions)
    if accepted.suspended:
        return Standing("Suspended", Reason.SUSPENDED, conditions | _not_running(Reason.SUSPENDED, Reason.SUSPENDED.message()))
    return Standing("Pending", Reason.BACK_OFF if accepted.may_start else accepted.reason, conditions)


def _at_work(status: RunStatus, attempt: Attempt, accepted: Accepted, snapshot: Snapshot, now: datetime) -> Standing:
    before = snapshot.status
    if attempt.number != before.attempt:
        created: Conditions = {
            kind: finding(False, Reason.CREATED) for kind in (ConditionType.SCHEDULED, ConditionType.RUNNING)
        }
        return Standing("Pending", Reason.CREATED, _of_the_end(status, before) | created)
    if attempt.reason is not None and snapshot.job(attempt.number) is not None:
        runs = attempt.running is not None
        conditions: Conditions = {ConditionType.RUNNING: finding(runs, Reason.STOPPING, attempt.reason)}
        if attempt.reason == Reason.STALLED:
            conditions[ConditionType.STEPS_STALLED] = Finding(True, Reason.STALLED, attempt.message or "")
        return Standing("Running" if runs else "Pending", Reason.STOPPING, conditions)
    pod = pod_state(attempt, snapshot, now)
    placed = finding(True, Reason.SCHEDULED) if pod.scheduled else finding(False, pod.reason, pod.found)
    changed = pod.running and attempt.is_outdated(snapshot.generation)
    found = f"{pod.found}; {Reason.SPEC_CHANGED.message()}" if changed else pod.found
    conditions = {ConditionType.SCHEDULED: placed, ConditionType.RUNNING: finding(pod.running, pod.reason, found)}
    if pod.running:
        conditions[ConditionType.REWARD_COLLAPSED] = finding(False, Reason.STABLE)
    if (made := steps(status, snapshot, accepted.recovery, now)) is not None:
        conditions[ConditionType.STEPS_STALLED] = finding(made.stalled, made.reason, made.found)
    return Standing("Running" if pod.running else "Pending", pod.reason, conditions)


def _of_the_end(status: RunStatus, before: RunStatus) -> Conditions:
    """Return the conditions of the attempt that has just ended; empty if none has."""
    ended = next((each for each in status.attempts if each.number == before.attempt and each.end is not None), None)
    if ended is None or before.current is None or before.current.end is not None:
        return {}
    reason, message = Reason(ended.reason or Reason.CRASHED), ended.message or ""
    conditions = _not_running(reason, message)
    conditions[ConditionType.STEPS_STALLED] = Finding(True, reason, message) if reason is Reason.STALLED else None
    if reason is Reason.REWARD_COLLAPSED:
        conditions[ConditionType.REWARD_COLLAPSED] = Finding(True, reason, message)
    return conditions


def _finished(status: RunStatus, conditions: Conditions) -> Standing:
    """Return the final standing of the run. Only its last condition has the message."""
    reason, attempt = Reason(status.reason), status.attempts[-1]
    message = attempt.message or ""
    if attempt.reason != reason:
        last = "the last one" if reason is Reason.ATTEMPTS_EXHAUSTED else "the last attempt"
        message = reason.message(f"{last}, {attempt.reason}: {message}")
    kind = ConditionType.SUCCEEDED if status.state == "Succeeded" else ConditionType.FAILED
    return Standing(status.state, reason, conditions | _not_running(reason, "") | {kind: Finding(True, reason, message)})


def _not_running(reason: Reason, message: str) -> Conditions:
    """Return the conditions of an attempt that is neither scheduled nor running; only one has the message."""
    return {ConditionType.SCHEDULED: Finding(False, reason, ""), ConditionType.RUNNING: Finding(False, reason, message)}


def _durable(status: RunStatus, accepted: Accepted, snapshot: Snapshot, now: datetime) -> Conditions:
    checkpoint, before = status.last_verified_checkpoint, snapshot.status
    if accepted.run is None or (before.finished and checkpoint == before.last_verified_checkpoint):
        return {}
    attempt = status.current
    pod = snapshot.pod(attempt.number) if attempt is not None and attempt.end is None else None
    if pod is not None and (failing := failing_uploader(pod, now)):
        conditions = finding(False, Reason.UPLOADER_FAILING, failing)
    elif checkpoint is not None:
        conditions = finding(True, Reason.UPLOADED, f"{checkpoint.stage} step {checkpoint.step}: {checkpoint.uri}")
    else:
        conditions = finding(False, Reason.NO_STORAGE if accepted.run.spec.storage is None else Reason.NO_CHECKPOINT)
    return {ConditionType.CHECKPOINT_DURABLE: conditions}


def _of_the_judge(status: RunStatus, accepted: Accepted) -> Conditions:
    """Whether only the judge's mean rises: for a run with a judge, from its first report of GRPO on."""
    judged = accepted.run is not None and accepted.run.spec.reward.judge is not None
    if not judged or (status.judge is None and status.stage != "grpo"):
        return {}
    trend = status.judge
    diverged = trend is not None and trend.diverged
    reason = Reason.JUDGE_DIVERGED if diverged else Reason.JUDGE_CONSISTENT
    return {ConditionType.JUDGE_DIVERGED: finding(diverged, reason, "" if trend is None else str(trend))}


def _for_tools(status: RunStatus, accepted: Accepted) -> Conditions:
    """Return the two conditions for kstatus. Messages for people are in the other conditions."""
    attempt, reason = status.current, Reason(status.reason)
    at_work = attempt is not None and attempt.end is None
    cannot_begin = not (status.finished or accepted.is_valid or at_work)
    failed = status.state == "Failed" or cannot_begin
    in_progress = not (failed or status.finished or status.state == "Suspended")
    reason = accepted.reason if cannot_begin else reason
    why = f"see {ConditionType.FAILED if status.finished else ConditionType.ACCEPTED}"
    return {
        ConditionType.RECONCILING: finding(in_progress, Reason.IN_PROGRESS if in_progress else reason),
        ConditionType.STALLED: Finding(True, reason, why) if failed else finding(False, Reason.IN_PROGRESS),
    }


def _with_costs(status: RunStatus, accepted: Accepted) -> RunStatus:
    """Return the status with GPU-hours up to the last report: a number that follows the clock would be written forever."""
    if accepted.run is None:
        return status
    hours, price = status.earlier.gpu_hours, accepted.run.spec.compute.price_per_gpu_hour
    for attempt in status.attempts:
        hours += attempt.gpu_hours(attempt.end or attempt.reported or attempt.start)
    cost = None if price is None else round(hours * price, 2)
    return status.model_copy(update={"gpu_hours": round(hours, 4), "cost": cost})
