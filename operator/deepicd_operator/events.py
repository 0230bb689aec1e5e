"""Events for the user: the difference between two statuses, and the start of an attempt.

No status records that an attempt has all its objects. The caller passes it as `starts`, so that one event reports the start of
the attempt, together with the start of its trainer if that came first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deepicd_operator.conditions import Condition, ConditionType
from deepicd_operator.reasons import Reason, Rule
from deepicd_operator.status import RunStatus

ATTEMPT_STARTED = "AttemptStarted"
"""Reason of the event for the start of an attempt."""
_FOR_TOOLS = {ConditionType.RECONCILING, ConditionType.STALLED}
_PER_SPEC = {ConditionType.ACCEPTED}
"""Conditions that are about the spec; the others are about an attempt."""


@dataclass(frozen=True)
class RunEvent:
    """An event that is written once. Its identity determines the name of the Event object, so a second write has no effect."""

    reason: str
    message: str
    warning: bool
    identity: str
    addition: RunEvent | None = None
    """Follow-up event, to be written if this event was already written without it."""


def events_between(old: RunStatus, new: RunStatus, *, starts: bool = False) -> tuple[RunEvent, ...]:
    """Return the events, in order. `starts`: the newest attempt gets the last of its objects now."""
    events = [*([_start(old)] if starts else ()), *_retries(old, new), *_changes(old, new)]
    for condition in _changed(old, new):
        if (event := _transition(condition, new)) is None or any(each.reason == event.reason for each in events):
            continue  # one event for each cause, even if several conditions show it
        if event.reason == Reason.RUNNING and events and events[-1].reason == ATTEMPT_STARTED:
            events[-1] = replace(events[-1], message=f"{events[-1].message}; {event.message}", addition=event)
        else:
            events.append(event)
    return tuple(events)


def _start(old: RunStatus) -> RunEvent:
    checkpoint = old.last_verified_checkpoint
    how = f"resumes from {checkpoint.stage} step {checkpoint.step}" if checkpoint else "starts from scratch"
    return RunEvent(ATTEMPT_STARTED, f"attempt {old.attempt} {how}", False, f"attempt/{old.attempt}/start")


def _retries(old: RunStatus, new: RunStatus) -> Iterable[RunEvent]:
    """An attempt that has ended and is followed by another."""
    if old.current is None or old.current.end is not None or new.finished:
        return
    ended = next((each for each in new.attempts if each.number == old.attempt), None)
    if ended is None or ended.end is None or ended.reason is None or Reason(ended.reason).rule is Rule.WAIT:
        return
    wait = (new.retry_at - ended.end).total_seconds() if new.retry_at is not None else 0
    follows = f"attempt {ended.number + 1} follows" + (f" in {wait:.0f} s" if wait else "")
    identity = f"attempt/{ended.number}/{ended.reason}"
    yield RunEvent(ended.reason, f"attempt {ended.number} ended: {ended.message}; {follows}", True, identity)


def _changes(old: RunStatus, new: RunStatus) -> Iterable[RunEvent]:
    """A change of the spec, if a trainer runs with an older one or if the change restarts a failed run."""
    attempt, is_news = new.current, old.observed_generation < new.observed_generation
    runs = attempt is not None and attempt.running is not None and attempt.end is None and attempt.reason is None
    message = Reason.SPEC_CHANGED.message()
    if old.finished and not new.finished:
        message = f"the spec has changed: attempt {old.attempt + 1} follows, and attempts are counted from there"
    elif attempt is None or not (is_news and runs and attempt.is_outdated(new.observed_generation)):
        return
    yield RunEvent(Reason.SPEC_CHANGED, message, False, f"spec/{new.observed_generation}/{Reason.SPEC_CHANGED}")


def _changed(old: RunStatus, new: RunStatus) -> Iterable[Condition]:
    """Conditions with a new status or reason, the most informative first."""
    before = {each.type: (each.status, each.reason) for each in old.conditions}
    changed = [each for each in new.conditions if before.get(each.type) != (each.status, each.reason)]
    runs = any(each.reason == Reason.RUNNING for each in changed)
    # The event for Running also names the node.
    silent = {*_FOR_TOOLS, *([ConditionType.SCHEDULED] if runs else ())}
    return (each for each in reversed(changed) if each.type not in silent)


def _transition(condition: Condition, new: RunStatus) -> RunEvent | None:
    """Return the event for a changed condition, or None if it has none."""
    kind, reason = ConditionType(condition.type), Reason(condition.reason)
    good = reason.rule is Rule.CONTINUE
    if good and (condition.status == "False" or kind in _PER_SPEC):
        return None
    of = f"spec/{new.observed_generation}" if kind in _PER_SPEC else f"attempt/{new.attempt}"
    warning = not good and reason is not Reason.SUSPENDED
    return RunEvent(reason, condition.message, warning, f"{of}/{reason}")
