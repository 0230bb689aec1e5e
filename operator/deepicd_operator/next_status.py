"""Computes the run's next status: its attempts, and how they and the run ended.

The status is the only memory. Every change follows from facts that stay true (an ended Job, a recorded end of an attempt), so
that a stale snapshot repeats a decision and never leads to a second one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from deepicd.spec.recovery import RecoverySpec
from deepicd_operator.accepted import Accepted
from deepicd_operator.attempt_result import AttemptResult, attempt_result
from deepicd_operator.claims import is_needed, leftovers, without_needless_claims
from deepicd_operator.desired import needs_further_objects
from deepicd_operator.pod_state import pod_state
from deepicd_operator.reasons import Reason, Rule
from deepicd_operator.reports import with_pod, with_reports
from deepicd_operator.resources.attempt import scratch_claim_name
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import Attempt, RunStatus
from deepicd_operator.stop import digest, is_late, why_stop
from deepicd_operator.summary import summarized

MAX_BACKOFF = timedelta(minutes=10)
FREE_RETRIES = 3
"""Disruptions in a row after which the operator starts to wait between attempts."""


def next_status(accepted: Accepted, snapshot: Snapshot, now: datetime) -> RunStatus:
    """Return the status to write."""
    if needs_further_objects(accepted, snapshot, now) and not _runs(snapshot, now):
        # The next reconcile writes the status: an intermediate one would be an additional write for every run.
        return snapshot.status
    return summarized(_history(accepted, snapshot, now), accepted, snapshot, now)


def _runs(snapshot: Snapshot, now: datetime) -> bool:
    """Whether the trainer of the current attempt runs."""
    attempt, job = snapshot.status.current, snapshot.job(snapshot.status.attempt)
    return attempt is not None and job is not None and not job.finished and pod_state(attempt, snapshot, now).running


def _history(accepted: Accepted, snapshot: Snapshot, now: datetime) -> RunStatus:
    """Return the status with its attempts brought up to date."""
    status, attempt = snapshot.status, snapshot.status.current
    if status.finished:
        return _with_next_attempt(
            _reopened(with_reports(status, snapshot, now), accepted, snapshot, now), accepted, snapshot, now
        )
    if attempt is None or attempt.end is not None:
        return _with_next_attempt(status, accepted, snapshot, now)
    if accepted.run is not None and attempt.generation != snapshot.generation and attempt.spec == digest(accepted.run.spec):
        attempt = attempt.model_copy(update={"generation": snapshot.generation})
    status = with_reports(with_pod(status.with_attempt(attempt), attempt, snapshot, now), snapshot, now)
    if needs_further_objects(accepted, snapshot, now):
        return status
    attempt = status.attempts[-1]
    if (result := attempt_result(attempt, snapshot, now)) is not None:
        status = _reopened(_with_end(status, attempt, result, accepted, snapshot, now), accepted, snapshot, now)
        return _with_next_attempt(status, accepted, snapshot, now)
    continues = attempt.reason is None and snapshot.job(attempt.number) is not None
    if continues and (stop := why_stop(status, attempt, accepted, snapshot, now)) is not None:
        message = stop.reason.message(stop.found)
        return status.with_attempt(attempt, reason=stop.reason, message=message, exit_code=stop.exit_code)
    return status


def _with_next_attempt(status: RunStatus, accepted: Accepted, snapshot: Snapshot, now: datetime) -> RunStatus:
    """Return the status with the next attempt, if it is due and allowed."""
    waits = status.retry_at is not None and now < status.retry_at
    if status.finished or accepted.run is None or not accepted.may_start or accepted.suspended or waits:
        return status
    number, checkpoint, compute = status.attempt + 1, status.last_verified_checkpoint, accepted.run.spec.compute
    return status.with_new_attempt(
        Attempt(
            number=number,
            start=now,
            gpus=compute.gpus * compute.nodes + accepted.run.spec.judge_gpus,
            resumed_from=checkpoint.uri if checkpoint else None,
            volume=scratch_claim_name(accepted.run, number),
            spec=digest(accepted.run.spec),
            generation=snapshot.generation,
        )
    )


def _with_end(
    status: RunStatus, attempt: Attempt, result: AttemptResult, accepted: Accepted, snapshot: Snapshot, now: datetime
) -> RunStatus:
    """Return the status with the attempt's end, and with the run's end if this was the last attempt."""
    reason, left, needed = result.reason, leftovers(snapshot, attempt, result.reason), is_needed(snapshot, attempt)
    message, codes = reason.message("; ".join(filter(None, (result.found, left)))), (result.exit_code, attempt.exit_code)
    if attempt.reason is not None and reason is not Reason.COMPLETED:
        # The operator stopped it: that reason counts, not the signal. An attempt that completed anyway is complete.
        reason, message = Reason(attempt.reason), "; ".join(filter(None, (attempt.message, left)))
        codes = codes[::-1]
    ended = attempt.model_copy(
        update={
            "end": now,
            "reason": str(reason),
            "message": message,
            "counted": reason.rule in (Rule.RETRY, Rule.STOP),
            "exit_code": codes[1] if codes[0] is None else codes[0],
        }
    )
    status = without_needless_claims(status.with_attempt(ended), ended, needed=needed)
    status = status.model_copy(update={"eta_seconds": None})
    over = _run_end(status, reason, accepted.recovery, now)
    if over is not None:
        state = "Succeeded" if over is Reason.COMPLETED else "Failed"
        return status.model_copy(update={"state": state, "reason": str(over), "completion_time": now, "retry_at": None})
    if reason.rule is Rule.WAIT:
        return status
    if reason is Reason.SPEC_CHANGED and attempt.reason is None:
        return status  # its Job was never made: whoever corrects a refused spec, however often, need not wait
    return status.model_copy(update={"retry_at": now + backoff(status, accepted.recovery)})


def _run_end(status: RunStatus, reason: Reason, recovery: RecoverySpec, now: datetime) -> Reason | None:
    """Return the run's final reason after an attempt that ended with `reason`; None if another attempt follows."""
    if reason is Reason.COMPLETED or reason.rule is Rule.STOP:
        return reason
    if reason.rule is Rule.RETRY and status.counted_attempts >= recovery.max_attempts:
        return Reason.ATTEMPTS_EXHAUSTED
    return Reason.DEADLINE_EXCEEDED if is_late(status, recovery, now) else None


def _reopened(status: RunStatus, accepted: Accepted, snapshot: Snapshot, now: datetime) -> RunStatus:
    """Reopen a failed run if its spec is newer than its last attempt: the change may have removed the cause.

    Earlier attempts no longer count. A run that is suspended or past its deadline stays failed.
    """
    attempt = status.current
    if status.state != "Failed" or attempt is None or accepted.suspended or is_late(status, accepted.recovery, now):
        return status
    if snapshot.generation <= (attempt.generation or snapshot.status.observed_generation):
        return status
    attempts = tuple(each.model_copy(update={"counted": False}) for each in status.attempts)
    earlier = status.earlier.model_copy(update={"counted": 0})
    return status.model_copy(update={"state": "Pending", "completion_time": None, "attempts": attempts, "earlier": earlier})


def backoff(status: RunStatus, recovery: RecoverySpec) -> timedelta:
    """Return the wait before the next attempt: doubled with each counted one; after disruptions only if many came in a row."""
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
