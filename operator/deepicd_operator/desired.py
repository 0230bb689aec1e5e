"""The objects that a run should have according to its status, compared with those it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from deepicd.spec.resource_names import KIND
from deepicd_operator.accepted import Accepted
from deepicd_operator.kinds import RAY_JOB
from deepicd_operator.reasons import Reason
from deepicd_operator.resources import (
    AttemptRequest,
    Groups,
    further_objects,
    starting_objects,
    supporting_objects,
)
from deepicd_operator.settings import Settings
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import RunStatus


@dataclass(frozen=True)
class Deletion:
    """An object to delete, provided that it is still the same object."""

    kind: str
    name: str
    uid: str = ""
    version: str | None = None
    """Delete only this version: if the object has changed, decide again."""
    foreground: bool = False
    """Keep the object until its pods are gone."""
    owner: str = ""
    """Instead of `uid`: delete only if it belongs to the run of this uid."""


def desired(accepted: Accepted, status: RunStatus, snapshot: Snapshot, settings: Settings, now: datetime) -> Groups:
    """Return the objects to create, in groups. Existing objects are not changed.

    Raises:
        CannotPlanError: one cannot be built from the spec.
    """
    attempt = status.current
    if accepted.run is None or attempt is None or attempt.end is not None or snapshot.is_refused(now):
        return ()
    request = AttemptRequest(accepted.run, snapshot.namespace, snapshot.uid, attempt.number, settings)
    if attempt.number != snapshot.status.attempt or snapshot.job(attempt.number) is None:
        return starting_objects(request) if accepted.may_start and attempt.reason is None else ()
    if needs_further_objects(accepted, snapshot, now):
        # Under load, the pods of all runs are started before any run gets these.
        return further_objects(request)
    is_silent = any(each.reason == Reason.NO_REPORT for each in status.conditions)
    return supporting_objects(request) if is_silent and attempt.reason is None else ()


def needs_further_objects(accepted: Accepted, snapshot: Snapshot, now: datetime) -> bool:
    """Whether to create the objects now that the newest attempt's pod needs later. Its end is recorded only after that."""
    attempt = snapshot.status.current
    at_work = attempt is not None and attempt.end is None and attempt.reason is None
    return at_work and snapshot.lacks_objects and accepted.can_create and not snapshot.is_refused(now)


def superfluous(accepted: Accepted, status: RunStatus, snapshot: Snapshot, now: datetime) -> tuple[Deletion, ...]:
    """Return the objects to delete."""
    orphans = (Deletion("Pod", pod.name, pod.uid) for pod in snapshot.orphans if not pod.deleting and not pod.ended)
    return *_claims(status, snapshot), *orphans, *_jobs(status, snapshot), *_run(accepted, status, snapshot, now)


def _claims(status: RunStatus, snapshot: Snapshot) -> Iterator[Deletion]:
    """Claims that the status no longer lists for their attempts."""
    released = {attempt.number for attempt in status.attempts if attempt.volume is None}
    for attempt in snapshot.status.attempts:
        if attempt.volume is not None and attempt.number in released:
            yield Deletion("PersistentVolumeClaim", attempt.volume, owner=snapshot.uid)


def _jobs(status: RunStatus, snapshot: Snapshot) -> Iterator[Deletion]:
    """The Job of an attempt that is being stopped, and the Jobs of ended attempts.

    The latter may come from an operator that lost a race.
    """
    attempt = status.current
    at_work = attempt.number if attempt is not None and attempt.end is None else None
    if at_work != snapshot.status.attempt:
        at_work = None  # it starts now: an existing Job with its number does not belong to it
    for job in snapshot.jobs:
        if job.deleting:
            continue
        if attempt is not None and job.attempt == at_work:
            if attempt.reason is not None:
                yield Deletion(job.kind, job.name, job.uid, job.version, foreground=True)
        elif not job.finished or job.kind == RAY_JOB:
            # Only in the version that was seen: a Job that has ended since then keeps its pod, and the pod its log.
            # The pods of an ended RayJob are gone; deleting it releases the volume that they shared.
            yield Deletion(job.kind, job.name, job.uid, job.version)


def _run(accepted: Accepted, status: RunStatus, snapshot: Snapshot, now: datetime) -> Iterator[Deletion]:
    ttl, ended = accepted.recovery.ttl_after_finished, status.completion_time
    if status.finished and ttl is not None and ended is not None and now >= ended + ttl:
        # In the version that was seen: a change at the last moment starts a failed run again.
        yield Deletion(KIND, snapshot.name, snapshot.uid, snapshot.version)
