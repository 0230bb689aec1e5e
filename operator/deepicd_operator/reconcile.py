"""The whole of what the operator decides: (what is observed, now) -> what is to be done. Pure.

It keeps nothing between calls: the run's status holds all that is remembered, and every decision follows from facts
that do not become untrue again (an ended Job, a written end of an attempt), so that a stale view repeats a decision
and never makes a second one.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from deepicd.errors import UserError
from deepicd.spec.compute import ComputeSpec
from deepicd.spec.load import UnknownFieldError, parse
from deepicd.spec.recovery import RecoverySpec
from deepicd.spec.resource_names import KIND
from deepicd.spec.run import DeepICDRun
from deepicd_operator.conditions import ConditionType
from deepicd_operator.faults import describe
from deepicd_operator.observed import JobView, Observed
from deepicd_operator.outcome import Ending, doomed, ending, upload_ends
from deepicd_operator.plan import Deletion, Plan
from deepicd_operator.policy import verdict
from deepicd_operator.reasons import Reason, Rule
from deepicd_operator.resources import (
    AttemptRequest,
    further_objects,
    starting_objects,
    supporting_objects,
)
from deepicd_operator.settings import Settings
from deepicd_operator.situation import situation
from deepicd_operator.stalls import is_silent, stalled
from deepicd_operator.status import Attempt, RunStatus
from deepicd_operator.turn import ATTEMPT_STARTED, Turn
from deepicd_operator.volumes import is_needed, release, what_is_left

MAX_BACKOFF = timedelta(minutes=10)
FREE_RETRIES = 3
"""Disruptions in a row after which the operator begins to wait between attempts."""


def reconcile(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """What is to be done about a run now.

    Where an error of ours keeps an object from being planned, the attempt at work is followed to its end all the same.
    """
    if observed.deleting:
        return Plan()
    turn = Turn(observed, now)
    try:
        return _decide(turn, _accept(turn, settings), settings)
    except Exception as error:
        turn = Turn(observed, now)
        turn.fault = error
        with suppress(Exception):  # the same one, where it is the spec that cannot be read
            _accept(turn, settings)
        if not observed.status.finished:
            turn.condition(ConditionType.ACCEPTED, False, Reason.CANNOT_PLAN, describe(error))
        return _decide(turn, None, settings)


def _decide(turn: Turn, run: DeepICDRun | None, settings: Settings) -> Plan:
    """The plan for a run that can be planned, or of which only what is there already can be followed."""
    observed = turn.observed
    if observed.status.finished:
        _finished(turn)
    elif (attempt := observed.status.current) is not None and attempt.end is None:
        _follow(turn, run, attempt, settings)
    else:
        _between(turn, run, settings)
    return turn.plan()


def _accept(turn: Turn, settings: Settings) -> DeepICDRun | None:
    """The run, or None where its spec breaks the schema. One that the policy refuses is returned: its attempt goes on."""
    observed = turn.observed
    try:
        run = parse(observed.content, observed.name)
    except UserError as error:
        found = str(error).removeprefix(f"{observed.name}: ")
        reason = Reason.UNKNOWN_FIELD if isinstance(error, UnknownFieldError) else Reason.INVALID_SPEC
        if not observed.status.finished:
            turn.condition(ConditionType.ACCEPTED, False, reason, found)
        return None
    turn.spec = run.spec
    if not observed.status.finished:
        refused, refusal = "; ".join(verdict(run, settings)), observed.refusal
        if not refused and refusal is not None and refusal.reason is Reason.INVALID_SPEC:
            turn.condition(ConditionType.ACCEPTED, False, refusal.reason, refusal.message)
        else:
            turn.condition(ConditionType.ACCEPTED, not refused, Reason.NOT_ALLOWED if refused else Reason.VALID, refused)
    return run


def _recovery(turn: Turn) -> RecoverySpec:
    return turn.spec.recovery if turn.spec is not None else RecoverySpec()


def _finished(turn: Turn) -> None:
    """A terminal state stays; last reports may come late; what is left over goes, and at last the run itself."""
    if (attempt := turn.status.current) is not None:
        turn.absorb_reports(attempt)
    _delete_unfinished(turn)
    ttl, ended = _recovery(turn).ttl_after_finished, turn.status.completion_time
    if ttl is None or ended is None:
        return
    if turn.now >= ended + ttl:
        turn.delete(Deletion(KIND, turn.observed.name, turn.observed.uid))
    else:
        turn.look_again_at(ended + ttl)


def _between(turn: Turn, run: DeepICDRun | None, settings: Settings) -> None:
    """No attempt is at work: begin the next one, or say why not."""
    _delete_unfinished(turn)
    if turn.spec is not None and turn.spec.suspend:
        turn.not_running(Reason.SUSPENDED, Reason.SUSPENDED.says())
        turn.state("Suspended", Reason.SUSPENDED)
    elif run is None or _is_refused(turn):
        turn.state("Pending", _accepted_reason(turn))
    elif (retry_at := turn.status.retry_at) is not None and turn.now < retry_at:
        turn.state("Pending", Reason.BACK_OFF)
        turn.look_again_at(retry_at)
    else:
        _begin(turn, run, settings)


def _begin(turn: Turn, run: DeepICDRun, settings: Settings) -> None:
    checkpoint, number = turn.status.last_verified_checkpoint, turn.status.attempt + 1
    request = _request(turn, run, number, settings)
    attempt = Attempt(
        number=number,
        start=turn.now,
        gpus=run.spec.compute.gpus * run.spec.compute.nodes,
        resumed_from=checkpoint.uri if checkpoint else None,
        volume=request.scratch_claim,
        compute=digest(run.spec.compute),
    )
    turn.begin(attempt)
    turn.condition(ConditionType.SCHEDULED, False, Reason.CREATED)
    turn.condition(ConditionType.RUNNING, False, Reason.CREATED)
    turn.state("Pending", Reason.CREATED)
    _start(turn, run, number, settings)


def _start(turn: Turn, run: DeepICDRun, number: int, settings: Settings) -> None:
    if not _is_refused(turn) and _may_make(turn):
        turn.apply(starting_objects(_request(turn, run, number, settings)))


def _complete(turn: Turn, run: DeepICDRun, number: int, settings: Settings) -> None:
    """The rest of the attempt's objects: under load the pods of all runs are started before any run has these."""
    checkpoint = turn.status.last_verified_checkpoint
    since = f"from {checkpoint.stage} step {checkpoint.step}" if checkpoint else "from the beginning"
    turn.event(ATTEMPT_STARTED, f"attempt {number} begins {since}", f"attempt/{number}/start")
    turn.apply(further_objects(_request(turn, run, number, settings)))


def _request(turn: Turn, run: DeepICDRun, number: int, settings: Settings) -> AttemptRequest:
    return AttemptRequest(run, turn.observed.namespace, turn.observed.uid, number, settings)


def _may_make(turn: Turn) -> bool:
    refusal = turn.observed.refusal
    if refusal is None or turn.now >= refusal.until:
        return True
    turn.look_again_at(refusal.until)
    return False


def _follow(turn: Turn, run: DeepICDRun | None, attempt: Attempt, settings: Settings) -> None:
    """An attempt is at work."""
    _delete_unfinished(turn, but=attempt.number)
    job = turn.observed.job(attempt.number)
    if run is not None and job is not None and not job.deleting and not turn.observed.complete and _may_make(turn):
        _complete(turn, run, attempt.number, settings)
        # Where the trainer runs already, one event and one status tell both; before that its own change will tell.
        if not job.finished and situation(attempt, turn.observed, turn.now).running:
            attempt = turn.absorb(attempt)
            stalled(turn, attempt, run.spec.recovery)
            _show(turn, attempt)
        return
    attempt = turn.absorb(attempt)
    ended = ending(attempt, turn.observed, turn.now)
    if ended is None and job is None and (attempt.reason is not None or (turn.spec is not None and turn.spec.suspend)):
        ended = Ending(Reason(attempt.reason) if attempt.reason else Reason.SUSPENDED)
    if ended is not None:
        _end(turn, run, attempt, ended, settings)
        return
    if attempt.reason is None and job is not None and (stop := _stop_for(turn, run, attempt)) is not None:
        attempt = turn.update(attempt, reason=stop.reason, message=stop.reason.says(stop.found), exit_code=stop.exit_code)
    if attempt.reason is not None and job is not None:
        _stop(turn, attempt, job)
        return
    if run is not None and job is None:
        _start(turn, run, attempt.number, settings)
    elif run is not None and is_silent(turn) and _may_make(turn):
        turn.apply(supporting_objects(_request(turn, run, attempt.number, settings)))
    _show(turn, attempt)


def _show(turn: Turn, attempt: Attempt) -> None:
    stands = situation(attempt, turn.observed, turn.now)
    if stands.look_again is not None:
        turn.look_again_at(stands.look_again)
    placed = Reason.SCHEDULED if stands.scheduled else stands.reason
    turn.condition(ConditionType.SCHEDULED, stands.scheduled, placed, "" if stands.scheduled else stands.found)
    turn.condition(ConditionType.RUNNING, stands.running, stands.reason, stands.found)
    if stands.running:
        turn.condition(ConditionType.REWARD_COLLAPSED, False, Reason.STABLE)
    turn.state("Running" if stands.running else "Pending", stands.reason)


def _stop_for(turn: Turn, run: DeepICDRun | None, attempt: Attempt) -> Ending | None:
    """Why an attempt that goes on must be stopped, or None."""
    recovery = _recovery(turn)
    if (hopeless := doomed(attempt, turn.observed, recovery.grace_period, turn.now)) is not None:
        return hopeless
    if (until := upload_ends(attempt, turn.observed, recovery.grace_period)) is not None:
        turn.look_again_at(until)
    pod = turn.observed.pod(attempt.number)
    if pod is not None and not pod.head and pod.trainer.ended and pod.trainer.exit_code == 0:
        # Nothing is left to stop but the uploader. Its kubelet ends it in time, unless the node is lost.
        uploaded_by = (pod.trainer.ended_at or attempt.start) + recovery.grace_period
        if turn.now < uploaded_by:
            turn.look_again_at(uploaded_by)
            return None
    if turn.spec is not None and turn.spec.suspend:
        return Ending(Reason.SUSPENDED)
    if run is not None and attempt.running is None and attempt.compute not in (None, digest(run.spec.compute)):
        return Ending(Reason.COMPUTE_CHANGED)
    if recovery.deadline is not None:
        left = recovery.deadline.total_seconds() - turn.status.seconds(turn.now)
        if left <= 0:
            return Ending(Reason.DEADLINE_EXCEEDED)
        turn.look_again_at(turn.now + timedelta(seconds=left))
    return None if pod is not None and pod.trainer.ended else stalled(turn, attempt, recovery)


def digest(compute: ComputeSpec) -> str:
    """What `spec.compute` says, in 64 characters; a field that a newer operator knows changes nothing where it is not given."""
    return hashlib.sha256(compute.model_dump_json(exclude_defaults=True).encode()).hexdigest()


def _stop(turn: Turn, attempt: Attempt, job: JobView) -> None:
    """Deleting the Job ends its pod, which has its grace period to make a checkpoint durable."""
    if not job.deleting:
        turn.delete(Deletion(job.kind, job.name, job.uid, job.version, foreground=True))
    turn.condition(ConditionType.RUNNING, attempt.running is not None, Reason.STOPPING, attempt.reason or "")
    turn.state("Running" if attempt.running is not None else "Pending", Reason.STOPPING)


def _end(turn: Turn, run: DeepICDRun | None, attempt: Attempt, ended: Ending, settings: Settings) -> None:
    """Note how the attempt ended, and what follows."""
    reason, recovery, left = ended.reason, _recovery(turn), what_is_left(turn.observed, attempt, ended.reason)
    needed = is_needed(turn.observed, attempt)
    message = reason.says("; ".join(filter(None, (ended.found, left))))
    if attempt.reason is not None and reason is not Reason.COMPLETED:
        # It was stopped on purpose: the purpose counts, not the signal. What is complete is complete.
        reason, message = Reason(attempt.reason), "; ".join(filter(None, (attempt.message, left)))
        exit_code = ended.exit_code if attempt.exit_code is None else attempt.exit_code
    else:
        exit_code = attempt.exit_code if ended.exit_code is None else ended.exit_code
    counted = reason.rule in (Rule.RETRY, Rule.STOP)
    attempt = turn.update(attempt, end=turn.now, reason=str(reason), message=message, counted=counted, exit_code=exit_code)
    release(turn, attempt, needed=needed)
    turn.set(eta_seconds=None)
    if reason is Reason.STALLED:
        turn.condition(ConditionType.STEPS_STALLED, True, reason, message=message)
    else:
        turn.drop(ConditionType.STEPS_STALLED)
    if reason is Reason.REWARD_COLLAPSED:
        turn.condition(ConditionType.REWARD_COLLAPSED, True, reason, message=message)
    if reason is Reason.COMPLETED:
        turn.finish("Succeeded", reason, message)
    elif reason.rule is Rule.STOP:
        turn.finish("Failed", reason, message)
    elif reason.rule is Rule.RETRY and turn.status.counted_attempts >= recovery.max_attempts:
        exhausted = Reason.ATTEMPTS_EXHAUSTED
        turn.finish("Failed", exhausted, exhausted.says(f"the last one, {reason}: {message}"))
    elif recovery.deadline is not None and turn.status.seconds(turn.now) >= recovery.deadline.total_seconds():
        late = Reason.DEADLINE_EXCEEDED
        turn.finish("Failed", late, late.says(f"the last attempt, {reason}: {message}"))
    if turn.status.finished:
        _delete_unfinished(turn)
        return
    if reason.rule is not Rule.WAIT:
        _announce_retry(turn, reason, message, backoff(turn.status, recovery))
    _between(turn, run, settings)


def _announce_retry(turn: Turn, reason: Reason, message: str, wait: timedelta) -> None:
    number = turn.status.attempt
    turn.not_running(reason, message)
    turn.set(retry_at=turn.now + wait)
    follows = f"attempt {number + 1} follows" + (f" in {wait.total_seconds():.0f} s" if wait else "")
    turn.event(reason, f"attempt {number} ended: {message}; {follows}", f"attempt/{number}/{reason}", warning=True)


def backoff(status: RunStatus, recovery: RecoverySpec) -> timedelta:
    """Wait before the next attempt: doubled with each one that counts; after disruptions only when many came in a row."""
    in_a_row = 0
    for attempt in reversed(status.attempts):
        if attempt.reason is None or Reason(attempt.reason).rule is not Rule.RETRY_FREE:
            break
        in_a_row += 1
    doublings = in_a_row - FREE_RETRIES - 1 if in_a_row else status.counted_attempts - 1
    if doublings < 0:
        return timedelta(0)
    longest = max(MAX_BACKOFF, recovery.backoff)
    return min(recovery.backoff * int(2 ** min(doublings, 20)), longest)


def _delete_unfinished(turn: Turn, but: int | None = None) -> None:
    """Jobs of attempts that are over (one may have been made by an operator that lost a race), and pods without a Job."""
    for pod in turn.observed.orphans:
        if not pod.deleting and not pod.ended:
            turn.delete(Deletion("Pod", pod.name, pod.uid))
    for job in turn.observed.jobs:
        if job.attempt == but or job.deleting:
            continue
        if not job.finished or job.kind == "RayJob":
            # In the version that was seen: one that has ended meanwhile keeps its pod, and the pod its log.
            # The pods of an ended RayJob are gone; with it goes the volume that they shared.
            turn.delete(Deletion(job.kind, job.name, job.uid, job.version))


def _is_refused(turn: Turn) -> bool:
    return _accepted_reason(turn) is Reason.NOT_ALLOWED


def _accepted_reason(turn: Turn) -> Reason:
    accepted: Any = next(each for each in turn.status.conditions if each.type == ConditionType.ACCEPTED)
    return Reason(accepted.reason)
