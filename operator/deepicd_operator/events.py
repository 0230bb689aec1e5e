"""What a user is told: the difference between two statuses, and that an attempt begins.

That an attempt has all its objects is in no status: `begins` says it, so that its begin is told once, with its trainer's
start where that has come first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deepicd_operator.conditions import Condition, ConditionType
from deepicd_operator.reasons import Reason, Rule
from deepicd_operator.status import RunStatus

ATTEMPT_STARTED = "AttemptStarted"
"""Reason of the event that an attempt begins with."""
_FOR_TOOLS = {ConditionType.RECONCILING, ConditionType.STALLED}
_PER_SPEC = {ConditionType.ACCEPTED}
"""Conditions that are about the spec; the others are about an attempt."""


@dataclass(frozen=True)
class RunEvent:
    """Something to tell the user once. Its identity decides the event's name, so it cannot be told twice."""

    reason: str
    message: str
    warning: bool
    identity: str
    addition: RunEvent | None = None
    """Part of the message, to be told by itself where this event was told before without it."""


def events_between(old: RunStatus, new: RunStatus, *, begins: bool = False) -> tuple[RunEvent, ...]:
    """The events, in order. `begins`: the newest attempt gets the last of its objects."""
    told = [*([_start(old)] if begins else ()), *_retries(old, new), *_changes(old, new)]
    for condition in _changed(old, new):
        if (said := _transition(condition, new)) is None or any(event.reason == said.reason for event in told):
            continue  # one cause is told once, though it shows in several conditions
        if said.reason == Reason.RUNNING and told and told[-1].reason == ATTEMPT_STARTED:
            told[-1] = replace(told[-1], message=f"{told[-1].message}; {said.message}", addition=said)
        else:
            told.append(said)
    return tuple(told)


def _start(old: RunStatus) -> RunEvent:
    checkpoint = old.last_verified_checkpoint
    since = f"from {checkpoint.stage} step {checkpoint.step}" if checkpoint else "from the beginning"
    return RunEvent(ATTEMPT_STARTED, f"attempt {old.attempt} begins {since}", False, f"attempt/{old.attempt}/start")


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
    """A new spec, where a trainer runs by an older one, and where it starts a failed run again."""
    attempt, is_news = new.current, old.observed_generation < new.observed_generation
    runs = attempt is not None and attempt.running is not None and attempt.end is None and attempt.reason is None
    message = Reason.SPEC_CHANGED.says()
    if old.finished and not new.finished:
        message = f"the spec has changed: attempt {old.attempt + 1} follows, and attempts are counted from there"
    elif attempt is None or not (is_news and runs and attempt.is_outdated(new.observed_generation)):
        return
    yield RunEvent(Reason.SPEC_CHANGED, message, False, f"spec/{new.observed_generation}/{Reason.SPEC_CHANGED}")


def _changed(old: RunStatus, new: RunStatus) -> Iterable[Condition]:
    """Conditions with another status or reason, those that say most first."""
    before = {each.type: (each.status, each.reason) for each in old.conditions}
    changed = [each for each in new.conditions if before.get(each.type) != (each.status, each.reason)]
    runs = any(each.reason == Reason.RUNNING for each in changed)
    # That it runs says where, too.
    silent = {*_FOR_TOOLS, *([ConditionType.SCHEDULED] if runs else ())}
    return (each for each in reversed(changed) if each.type not in silent)


def _transition(condition: Condition, new: RunStatus) -> RunEvent | None:
    """What a condition says that has changed; None where nothing is told of it."""
    kind, reason = ConditionType(condition.type), Reason(condition.reason)
    good = reason.rule is Rule.GO_ON
    if good and (condition.status == "False" or kind in _PER_SPEC):
        return None
    of = f"spec/{new.observed_generation}" if kind in _PER_SPEC else f"attempt/{new.attempt}"
    warning = not good and reason is not Reason.SUSPENDED
    return RunEvent(reason, condition.message, warning, f"{of}/{reason}")
