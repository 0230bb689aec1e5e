"""Every decision of the operator: from a snapshot to the status, the objects, the events and the next look. Pure.

Nothing is kept between calls: the run's status is the only memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deepicd_operator.accepted import accept, failed_on
from deepicd_operator.desired import Deletion, desired, needs_further_objects, superfluous
from deepicd_operator.events import RunEvent, events_between
from deepicd_operator.next_look import next_look
from deepicd_operator.next_status import next_status
from deepicd_operator.resources import Groups
from deepicd_operator.settings import Settings
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import RunStatus


@dataclass(frozen=True)
class Decision:
    """What to do about a run now, in this order: events, status, deletions, creations."""

    status: RunStatus | None = None
    """The status to write; None if it has not changed."""
    events: tuple[RunEvent, ...] = ()
    delete: tuple[Deletion, ...] = ()
    create: Groups = ()
    """Objects to create, in groups."""
    look_again: datetime | None = None
    """When to reconcile again without any change."""
    fault: Exception | None = None
    """An error in the operator itself: nothing is created."""


def reconcile(snapshot: Snapshot, now: datetime, settings: Settings) -> Decision:
    """Return what to do about a run now.

    If a bug prevents an object from being built, the current attempt is still followed to its end.
    """
    if snapshot.deleting:
        return Decision()
    fault: Exception | None = None
    create: Groups = ()
    try:
        accepted = accept(snapshot, settings)
        status = next_status(accepted, snapshot, now)
        create = desired(accepted, status, snapshot, settings, now)
    except Exception as error:
        fault, accepted = error, failed_on(snapshot, error)
        status = next_status(accepted, snapshot, now)
    return Decision(
        status=status if status != snapshot.status else None,
        events=events_between(snapshot.status, status, starts=needs_further_objects(accepted, snapshot, now)),
        delete=superfluous(accepted, status, snapshot, now),
        create=create,
        look_again=next_look(accepted, status, snapshot, now),
        fault=fault,
    )
