"""What a clean-up would delete of a run, and the clean-up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deepicd.artifacts.layout import CheckpointRef
from deepicd.artifacts.retention import Keep, committed, delete, delete_garbage, garbage, plan_for, read_manifests
from deepicd.artifacts.store.base import Store, StoredObject


@dataclass(frozen=True)
class Proposal:
    """What would be deleted."""

    checkpoints: tuple[tuple[CheckpointRef, int], ...]
    """Each with its bytes."""
    leftovers: tuple[StoredObject, ...]
    """Files that no manifest lists."""

    @property
    def is_empty(self) -> bool:
        """There is nothing to delete."""
        return not self.checkpoints and not self.leftovers


def propose(store: Store, keep: Keep, idle: timedelta) -> Proposal:
    """What `keep` lets go, and what interrupted uploads have left in folders that nothing came to for so long.

    Raises:
        UserError, StoreError: see `Store`.
    """
    objects = list(store.list())
    manifests = read_manifests(store, committed(objects))
    readable = {ref: made for ref, made in manifests.items() if made is not None}
    old = [(ref, readable[ref].size) for ref in plan_for(store, manifests, keep)]
    return Proposal(tuple(old), tuple(garbage(objects, readable, datetime.now(UTC) - idle)))


def carry_out(store: Store, proposal: Proposal, idle: timedelta) -> None:
    """Delete it, and abort the uploads of single files that are unfinished after a day (for an `idle` of an hour).

    Raises:
        UserError, StoreError: see `Store`.
    """
    delete(store, [ref for ref, _ in proposal.checkpoints])
    delete_garbage(store, proposal.leftovers)
    # A store knows when such an upload began, not when its last part arrived: a large file may take hours.
    store.abort_uploads(datetime.now(UTC) - 24 * idle)
