"""The line that every decision of the operator goes along: snapshot, status, objects, events, next look. Pure.

It keeps nothing between calls: the run's status holds all that is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deepicd_operator.accepted import accept, failed_on
from deepicd_operator.desired import Deletion, desired, makes_rest, superfluous
from deepicd_operator.events import RunEvent, events_between
from deepicd_operator.next_look import next_look
from deepicd_operator.next_status import next_status
from deepicd_operator.resources import Groups
from deepicd_operator.settings import Settings
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import RunStatus


@dataclass(frozen=True)
class Decision:
    """What is to be done about a run now, in the order: events, status, deletions, objects."""

    status: RunStatus | None = None
    """The status to write; None where it stays."""
    events: tuple[RunEvent, ...] = ()
    delete: tuple[Deletion, ...] = ()
    create: Groups = ()
    """Objects to make, group by group."""
    look_again: datetime | None = None
    """When to look again though nothing has changed."""
    fault: Exception | None = None
    """An error of the operator's own: nothing is made."""


def reconcile(snapshot: Snapshot, now: datetime, settings: Settings) -> Decision:
    """What is to be done about a run now.

    Where an error of ours keeps an object from being planned, the attempt at work is followed to its end all the same.
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
        events=events_between(snapshot.status, status, begins=makes_rest(accepted, snapshot, now)),
        delete=superfluous(accepted, status, snapshot, now),
        create=create,
        look_again=next_look(accepted, status, snapshot, now),
        fault=fault,
    )
