"""One reconcile while it is being thought out: the status as it will be, and what is to be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from deepicd.spec.progress import Progress
from deepicd.spec.run import RunSpec
from deepicd_operator.columns import columns
from deepicd_operator.conditions import Condition, ConditionType, holds, put, without
from deepicd_operator.decision import Decision, Deletion, RunEvent
from deepicd_operator.reasons import Reason, Rule
from deepicd_operator.resources import Groups
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import MAX_ATTEMPTS, Attempt, Earlier, VerifiedCheckpoint

State = Literal["Pending", "Running", "Suspended", "Succeeded", "Failed"]
MAX_CLOCK_SKEW = timedelta(minutes=10)
"""Reports from further in the future are not believed."""
ATTEMPT_STARTED = "AttemptStarted"
"""Reason of the event that an attempt begins with."""
HEARTBEAT_NOTED = timedelta(minutes=10)
"""A report that only says again what is known is written into the status after this time."""
MANY_RESTARTS = 2
"""An uploader that was started again so often is said to be failing."""
RUNS_WELL = timedelta(minutes=1)
"""How long it runs until it is not."""
_FOR_TOOLS = {ConditionType.RECONCILING, ConditionType.STALLED}
_PER_SPEC = {ConditionType.ACCEPTED}
"""Conditions that are about the spec; the others are about an attempt."""


class Turn:
    """Collects a plan. `status` is the status so far."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self.snapshot = snapshot
        self.now = now
        self.status = snapshot.status
        self.spec: RunSpec | None = None
        """The spec, where it is valid."""
        self.fault: Exception | None = None
        """An error of ours that keeps anything from being made."""
        self._apply: Groups = ()
        self._delete: list[Deletion] = []
        self._events: list[RunEvent] = []
        self._again: datetime | None = None

    def set(self, **fields: Any) -> None:
        """Change fields of the status."""
        self.status = self.status.model_copy(update=fields)

    def condition(
        self, kind: ConditionType, status: bool | None, reason: Reason, found: str = "", message: str | None = None
    ) -> None:
        """Set a condition (None: unknown); its message is the reason's, with what was found, unless one is given."""
        text = reason.says(found) if message is None else message
        self.set(conditions=put(self.status.conditions, kind, status, reason, text, self.now, self.snapshot.generation))

    def drop(self, kind: ConditionType) -> None:
        """Take a condition away that says nothing any more."""
        self.set(conditions=without(self.status.conditions, kind))

    def state(self, state: State, reason: Reason) -> None:
        """Set the state, the conditions in one word."""
        self.set(state=state, reason=str(reason))

    def apply(self, groups: Groups) -> None:
        """Make these objects."""
        self._apply = groups

    def delete(self, deletion: Deletion) -> None:
        """Delete an object."""
        if deletion not in self._delete:
            self._delete.append(deletion)

    def event(self, reason: str, message: str, identity: str, *, warning: bool = False) -> None:
        """Tell the user something, once for each identity."""
        self._events.append(RunEvent(reason, message, warning, identity))

    def look_again_at(self, when: datetime) -> None:
        """Reconcile at this time, though nothing has changed."""
        self._again = when if self._again is None else min(self._again, when)

    def begin(self, attempt: Attempt) -> None:
        """A new attempt is the current one; the oldest listed ones are summed up."""
        attempts, earlier = (*self.status.attempts, attempt), self.status.earlier
        while len(attempts) > MAX_ATTEMPTS:
            old, attempts = attempts[0], attempts[1:]
            earlier = Earlier(
                attempts=earlier.attempts + 1,
                counted=earlier.counted + old.counted,
                seconds=earlier.seconds + old.seconds(self.now),
                gpu_hours=earlier.gpu_hours + old.gpu_hours(self.now),
            )
        start = self.status.start_time or self.now
        self.set(attempt=attempt.number, attempts=attempts, earlier=earlier, retry_at=None, start_time=start)

    def update(self, attempt: Attempt, **fields: Any) -> Attempt:
        """Change fields of an attempt that is listed."""
        changed = attempt.model_copy(update=fields)
        self.set(attempts=tuple(changed if each.number == attempt.number else each for each in self.status.attempts))
        return changed

    def absorb(self, attempt: Attempt) -> Attempt:
        """Take over what the attempt's pod and its newest reports say."""
        pod, job = self.snapshot.pod(attempt.number), self.snapshot.job(attempt.number)
        on_nodes = job is not None and job.kind == "RayJob"
        if pod is not None and pod.scheduled and (pod.head or not on_nodes):
            fields: dict[str, Any] = {
                "pod": pod.name if attempt.running is None else attempt.pod,
                "node": pod.node,
                "disruption": self.snapshot.disruption(attempt.number) or attempt.disruption,
            }
            slowest = self.snapshot.slowest_pod(attempt.number) or pod
            if attempt.running is None and slowest.trainer.started is not None:
                fields["running"] = min(slowest.trainer.started, self.now)
            attempt = self.update(attempt, **fields)
        return self.absorb_reports(attempt)

    def absorb_reports(self, attempt: Attempt) -> Attempt:
        """Take over what the attempt's newest reports say; its last ones may be heard of after its end."""
        report = self.snapshot.progress
        if self.snapshot.checkpoint is not None:
            self._take(VerifiedCheckpoint(attempt=attempt.number, **self.snapshot.checkpoint.model_dump()))
        if report is None or not self.believes(report):
            return attempt
        # One from the future says only that the node's clock was set meanwhile.
        if attempt.reported is not None and report.time < attempt.reported <= self.now:
            return attempt
        if self._is_heartbeat(attempt, report):
            return attempt
        moved = attempt.progressed is None or (report.stage, report.step) != (self.status.stage, self.status.step)
        fields: dict[str, Any] = {"reported": report.time, "resumed_from": report.resumed_from or attempt.resumed_from}
        if moved and report.stage is not None:
            fields["progressed"] = self.now
        self.set(
            stage=report.stage or self.status.stage,
            step=report.step,
            steps=report.steps,
            reward=_rounded(report.reward),
            kl=_rounded(report.kl),
            eta_seconds=None if report.eta_seconds is None or attempt.end is not None else round(report.eta_seconds),
            metrics=report.metrics or self.status.metrics,
        )
        return self.update(attempt, **fields)

    def believes(self, report: Progress) -> bool:
        """Whether a report is not from the future."""
        return report.time <= self.now + MAX_CLOCK_SKEW

    def _is_heartbeat(self, attempt: Attempt, report: Progress) -> bool:
        """Whether a report says nothing new but that the trainer lives: written down seldom, to spare the API server."""
        if attempt.reported is None or report.time - attempt.reported >= HEARTBEAT_NOTED:
            return False
        known = (self.status.stage, self.status.step, self.status.steps, self.status.reward, self.status.kl)
        said = (report.stage, report.step, report.steps, _rounded(report.reward), _rounded(report.kl))
        eta = None if report.eta_seconds is None else round(report.eta_seconds)
        resumed = report.resumed_from in (None, attempt.resumed_from)
        metrics = report.metrics in (None, self.status.metrics)
        return (*known, self.status.eta_seconds) == (*said, eta) and resumed and metrics and report.failure is None

    def _take(self, checkpoint: VerifiedCheckpoint) -> None:
        before = self.status.last_verified_checkpoint
        if before is None or (before.attempt, before.time) < (checkpoint.attempt, checkpoint.time):
            self.set(last_verified_checkpoint=checkpoint)

    def not_running(self, reason: Reason, message: str) -> None:
        """Neither placed nor running; the message is given once."""
        self.condition(ConditionType.SCHEDULED, False, reason, message="")
        self.condition(ConditionType.RUNNING, False, reason, message=message)

    def finish(self, state: Literal["Succeeded", "Failed"], reason: Reason, message: str) -> None:
        """The run is over: this stays."""
        kind = ConditionType.SUCCEEDED if state == "Succeeded" else ConditionType.FAILED
        self.not_running(reason, "")
        self.condition(kind, True, reason, message=message)
        self.set(completion_time=self.now, retry_at=None, eta_seconds=None)
        self.state(state, reason)

    def plan(self) -> Decision:
        """The plan, with a status only where it differs from the one that is there."""
        self._durability()
        self._kstatus()
        self._account()
        self.set(observed_generation=self.snapshot.generation)
        self.set(columns=columns(self.status))
        self._tell_transitions()
        again = None if self._again is None else max(0.0, (self._again - self.now).total_seconds())
        changed = self.status if self.status != self.snapshot.status else None
        return Decision(changed, self._apply, tuple(self._delete), tuple(self._events), again, self.fault)

    def _durability(self) -> None:
        checkpoint = self.status.last_verified_checkpoint
        before = self.snapshot.status
        if self.spec is None or (before.finished and checkpoint == before.last_verified_checkpoint):
            return
        if failing := self._failing_uploader():
            self.condition(ConditionType.CHECKPOINT_DURABLE, False, Reason.UPLOADER_FAILING, failing)
        elif checkpoint is not None:
            where = f"{checkpoint.stage} step {checkpoint.step}: {checkpoint.uri}"
            self.condition(ConditionType.CHECKPOINT_DURABLE, True, Reason.UPLOADED, where)
        else:
            reason = Reason.NO_STORAGE if self.spec.storage is None else Reason.NO_CHECKPOINT
            self.condition(ConditionType.CHECKPOINT_DURABLE, False, reason)

    def _failing_uploader(self) -> str:
        """How the uploader of the attempt at work keeps ending; empty where it does not, or has run for a while since."""
        attempt = self.status.current
        pod = self.snapshot.pod(attempt.number) if attempt is not None and attempt.end is None else None
        if pod is None or pod.trainer.ended or pod.sync.restarts < MANY_RESTARTS or pod.sync.exit_code in (None, 0):
            return ""
        if pod.sync.running_since is not None:
            well = pod.sync.running_since + RUNS_WELL
            if self.now >= well:
                return ""
            self.look_again_at(well)
        return f"exit code {pod.sync.exit_code}, {pod.sync.ended_as}"

    def _kstatus(self) -> None:
        """The two conditions that kstatus knows; the others, and what people read, are elsewhere."""
        accepted = holds(self.status.conditions, ConditionType.ACCEPTED)
        attempt = self.status.current
        at_work = attempt is not None and attempt.end is None
        failed = self.status.state == "Failed" or not (self.status.finished or accepted or at_work)
        going = not (failed or self.status.finished or self.status.state == "Suspended")
        reason = Reason(self.status.reason)
        if failed and self.status.state != "Failed":
            reason = next(Reason(each.reason) for each in self.status.conditions if each.type == ConditionType.ACCEPTED)
        why = f"see {ConditionType.FAILED if self.status.finished else ConditionType.ACCEPTED}" if failed else None
        self.condition(ConditionType.RECONCILING, going, reason if not going else Reason.IN_PROGRESS)
        self.condition(ConditionType.STALLED, failed, reason if failed else Reason.IN_PROGRESS, message=why)

    def _account(self) -> None:
        """GPU-hours up to the last report: a number that moved with the clock would be written for ever."""
        if self.spec is None or self.snapshot.status.finished:
            return
        hours, price = self.status.earlier.gpu_hours, self.spec.compute.price_per_gpu_hour
        for attempt in self.status.attempts:
            hours += attempt.gpu_hours(attempt.end or attempt.reported or attempt.start)
        self.set(gpu_hours=round(hours, 4), cost=None if price is None else round(hours * price, 2))

    def _tell_transitions(self) -> None:
        before = {each.type: (each.status, each.reason) for each in self.snapshot.status.conditions}
        changed = [each for each in self.status.conditions if before.get(each.type) != (each.status, each.reason)]
        runs = any(each.reason == Reason.RUNNING for each in changed)
        # Those that say most come last in the list, but for the two that say what others say.
        for condition in reversed(changed):
            # That it runs says where, too.
            if condition.type not in _FOR_TOOLS and not (runs and condition.type == ConditionType.SCHEDULED):
                self._tell(condition)

    def _tell(self, condition: Condition) -> None:
        kind = ConditionType(condition.type)
        reason = Reason(condition.reason)
        good = reason.rule is Rule.GO_ON
        if good and (condition.status == "False" or kind in _PER_SPEC):
            return
        # One cause is told once, though it shows in several conditions.
        if any(event.reason == reason for event in self._events):
            return
        of = f"spec/{self.snapshot.generation}" if kind in _PER_SPEC else f"attempt/{self.status.attempt}"
        warning = not good and reason is not Reason.SUSPENDED
        told = RunEvent(reason, condition.message, warning, f"{of}/{reason}")
        if reason is Reason.RUNNING and self._events and (begun := self._events[-1]).reason == ATTEMPT_STARTED:
            self._events[-1] = replace(begun, message=f"{begun.message}; {told.message}", addition=told)
        else:
            self._events.append(told)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
