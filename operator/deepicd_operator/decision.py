"""What a reconcile wants done. It is carried out in the order: events, status, deletions, objects."""

from __future__ import annotations

from dataclasses import dataclass

from deepicd_operator.resources import Groups
from deepicd_operator.status import RunStatus


@dataclass(frozen=True)
class Deletion:
    """An object to delete, if it is still that one."""

    kind: str
    name: str
    uid: str = ""
    version: str | None = None
    """Only in this version: one that has changed since is to be looked at again."""
    foreground: bool = False
    """Keep the object until its pods are gone."""
    owner: str = ""
    """In place of `uid`: only if it belongs to the run of this uid."""


@dataclass(frozen=True)
class RunEvent:
    """Something to tell the user once. Its identity decides the event's name, so it cannot be told twice."""

    reason: str
    message: str
    warning: bool
    identity: str
    addition: RunEvent | None = None
    """Part of the message, to be told by itself where this event was told before without it."""


@dataclass(frozen=True)
class Decision:
    """All that is to be done now, and when to look again though nothing changed."""

    status: RunStatus | None = None
    """The status to write; None where it stays."""
    apply: Groups = ()
    """Objects to make, group by group. One that exists is left as it is."""
    delete: tuple[Deletion, ...] = ()
    events: tuple[RunEvent, ...] = ()
    requeue_after: float | None = None
    """Seconds."""
    fault: Exception | None = None
    """An error of the operator's own: what is here was planned without making anything."""
