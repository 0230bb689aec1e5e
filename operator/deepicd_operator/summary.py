"""What follows from a run's attempts for the rest of its status: state, conditions, sums and columns.

Two things are not in the status and are taken from the snapshot: how the pod of the attempt at work stands, and whether its
uploader keeps failing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from deepicd_operator.accepted import Accepted
from deepicd_operator.columns import columns
from deepicd_operator.conditions import ConditionType, Said, merged, say
from deepicd_operator.pod_state import failing_uploader, pod_state
from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import Attempt, RunStatus, State
from deepicd_operator.steps import steps

Conditions = dict[ConditionType, Said | None]
"""Conditions to set, and (None) to take away; the others stay as they are."""


@dataclass(frozen=True)
class Stands:
    """How a run stands: the conditions in one word, why, and the conditions that say so."""

    state: State
    reason: Reason
    conditions: Conditions = field(default_factory=dict)


def summarized(status: RunStatus, accepted: Accepted, snapshot: Snapshot, now: datetime) -> RunStatus:
    """The status, whole."""
    before, generation = snapshot.status, snapshot.generation
    over = before.finished and status.finished
    stands = _stands(status, accepted, snapshot, now)
    status = status.model_copy(update={"state": stands.state, "reason": str(stands.reason), "observed_generation": generation})
    said = stands.conditions | _durable(status, accepted, snapshot, now)
    if not status.finished:
        said[ConditionType.FAILED] = None
    if not over:
        said[ConditionType.ACCEPTED] = say(accepted.is_valid, accepted.reason, accepted.found)
        status = _with_costs(status, accepted)
    said |= _for_tools(status, accepted)
    status = status.model_copy(update={"conditions": merged(status.conditions, said, now, generation)})
    return status.model_copy(update={"columns": columns(status)})


def _stands(status: RunStatus, accepted: Accepted, snapshot: Snapshot, now: datetime) -> Stands:
    attempt, before = status.current, snapshot.status
    if before.finished and status.finished:
        return Stands(status.state, Reason(status.reason))
    if attempt is not None and attempt.end is None:
        return _at_work(status, attempt, accepted, snapshot, now)
    said = _of_the_end(status, before)
    if status.finished:
        return _finished(status, said)
    if accepted.suspended:
        return Stands("Suspended", Reason.SUSPENDED, said | _not_running(Reason.SUSPENDED, Reason.SUSPENDED.says()))
    return Stands("Pending", Reason.BACK_OFF if accepted.may_begin else accepted.reason, said)


def _at_work(status: RunStatus, attempt: Attempt, accepted: Accepted, snapshot: Snapshot, now: datetime) -> Stands:
    before = snapshot.status
    if attempt.number != before.attempt:
        created: Conditions = {kind: say(False, Reason.CREATED) for kind in (ConditionType.SCHEDULED, ConditionType.RUNNING)}
        return Stands("Pending", Reason.CREATED, _of_the_end(status, before) | created)
    if attempt.reason is not None and snapshot.job(attempt.number) is not None:
        runs = attempt.running is not None
        said: Conditions = {ConditionType.RUNNING: say(runs, Reason.STOPPING, attempt.reason)}
        if attempt.reason == Reason.STALLED:
            said[ConditionType.STEPS_STALLED] = Said(True, Reason.STALLED, attempt.message or "")
        return Stands("Running" if runs else "Pending", Reason.STOPPING, said)
    pod = pod_state(attempt, snapshot, now)
    placed = say(True, Reason.SCHEDULED) if pod.scheduled else say(False, pod.reason, pod.found)
    changed = pod.running and attempt.is_outdated(snapshot.generation)
    found = f"{pod.found}; {Reason.SPEC_CHANGED.says()}" if changed else pod.found
    said = {ConditionType.SCHEDULED: placed, ConditionType.RUNNING: say(pod.running, pod.reason, found)}
    if pod.running:
        said[ConditionType.REWARD_COLLAPSED] = say(False, Reason.STABLE)
    if (made := steps(status, snapshot, accepted.recovery, now)) is not None:
        said[ConditionType.STEPS_STALLED] = say(made.stalled, made.reason, made.found)
    return Stands("Running" if pod.running else "Pending", pod.reason, said)


def _of_the_end(status: RunStatus, before: RunStatus) -> Conditions:
    """What the attempt leaves behind that was at work and has ended; nothing where there is none."""
    ended = next((each for each in status.attempts if each.number == before.attempt and each.end is not None), None)
    if ended is None or before.current is None or before.current.end is not None:
        return {}
    reason, message = Reason(ended.reason or Reason.CRASHED), ended.message or ""
    said = _not_running(reason, message)
    said[ConditionType.STEPS_STALLED] = Said(True, reason, message) if reason is Reason.STALLED else None
    if reason is Reason.REWARD_COLLAPSED:
        said[ConditionType.REWARD_COLLAPSED] = Said(True, reason, message)
    return said


def _finished(status: RunStatus, said: Conditions) -> Stands:
    """The run is over: that stays. What was found is said once."""
    reason, attempt = Reason(status.reason), status.attempts[-1]
    message = attempt.message or ""
    if attempt.reason != reason:
        last = "the last one" if reason is Reason.ATTEMPTS_EXHAUSTED else "the last attempt"
        message = reason.says(f"{last}, {attempt.reason}: {message}")
    kind = ConditionType.SUCCEEDED if status.state == "Succeeded" else ConditionType.FAILED
    return Stands(status.state, reason, said | _not_running(reason, "") | {kind: Said(True, reason, message)})


def _not_running(reason: Reason, message: str) -> Conditions:
    """Neither placed nor running; the message is given once."""
    return {ConditionType.SCHEDULED: Said(False, reason, ""), ConditionType.RUNNING: Said(False, reason, message)}


def _durable(status: RunStatus, accepted: Accepted, snapshot: Snapshot, now: datetime) -> Conditions:
    checkpoint, before = status.last_verified_checkpoint, snapshot.status
    if accepted.run is None or (before.finished and checkpoint == before.last_verified_checkpoint):
        return {}
    attempt = status.current
    pod = snapshot.pod(attempt.number) if attempt is not None and attempt.end is None else None
    if pod is not None and (failing := failing_uploader(pod, now)):
        said = say(False, Reason.UPLOADER_FAILING, failing)
    elif checkpoint is not None:
        said = say(True, Reason.UPLOADED, f"{checkpoint.stage} step {checkpoint.step}: {checkpoint.uri}")
    else:
        said = say(False, Reason.NO_STORAGE if accepted.run.spec.storage is None else Reason.NO_CHECKPOINT)
    return {ConditionType.CHECKPOINT_DURABLE: said}


def _for_tools(status: RunStatus, accepted: Accepted) -> Conditions:
    """The two conditions that kstatus knows; the others, and what people read, are elsewhere."""
    attempt, reason = status.current, Reason(status.reason)
    at_work = attempt is not None and attempt.end is None
    cannot_begin = not (status.finished or accepted.is_valid or at_work)
    failed = status.state == "Failed" or cannot_begin
    going = not (failed or status.finished or status.state == "Suspended")
    reason = accepted.reason if cannot_begin else reason
    why = f"see {ConditionType.FAILED if status.finished else ConditionType.ACCEPTED}"
    return {
        ConditionType.RECONCILING: say(going, Reason.IN_PROGRESS if going else reason),
        ConditionType.STALLED: Said(True, reason, why) if failed else say(False, Reason.IN_PROGRESS),
    }


def _with_costs(status: RunStatus, accepted: Accepted) -> RunStatus:
    """GPU-hours up to the last report: a number that moved with the clock would be written for ever."""
    if accepted.run is None:
        return status
    hours, price = status.earlier.gpu_hours, accepted.run.spec.compute.price_per_gpu_hour
    for attempt in status.attempts:
        hours += attempt.gpu_hours(attempt.end or attempt.reported or attempt.start)
    cost = None if price is None else round(hours * price, 2)
    return status.model_copy(update={"gpu_hours": round(hours, 4), "cost": cost})
