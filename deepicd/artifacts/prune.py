"""Propose a clean-up of a run's store, and do it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deepicd.artifacts.layout import CheckpointRef
from deepicd.artifacts.retention import Keep, committed, delete, delete_garbage, garbage, plan_for, read_manifests
from deepicd.artifacts.store.base import Store, StoredObject


@dataclass(frozen=True)
class Proposal:
    """What a clean-up would delete."""

    checkpoints: tuple[tuple[CheckpointRef, int], ...]
    """Each with its size in bytes."""
    leftovers: tuple[StoredObject, ...]
    """Files that no manifest lists."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not self.checkpoints and not self.leftovers


def propose(store: Store, keep: Keep, idle: timedelta) -> Proposal:
    """Checkpoints beyond `keep`, and the remains of interrupted uploads in folders that did not change for `idle`.

    Raises:
        UserError, StoreError: see `Store`.
    """
    objects = list(store.list())
    manifests = read_manifests(store, committed(objects))
    readable = {ref: made for ref, made in manifests.items() if made is not None}
    old = [(ref, readable[ref].size) for ref in plan_for(store, manifests, keep)]
    return Proposal(tuple(old), tuple(garbage(objects, readable, datetime.now(UTC) - idle)))


def to_json(proposal: Proposal) -> dict[str, Any]:
    """A proposal as `deepicd artifacts prune --json` prints it."""
    return {
        "checkpoints": [{"folder": ref.folder, "bytes": size} for ref, size in proposal.checkpoints],
        "leftovers": [{"key": item.key, "bytes": item.size} for item in proposal.leftovers],
    }


def delete_proposed(store: Store, proposal: Proposal, idle: timedelta) -> None:
    """Delete what was proposed, and abort uploads of single files begun over 24 `idle` ago: a day for an `idle` of an hour.

    Raises:
        UserError, StoreError: see `Store`.
    """
    delete(store, [ref for ref, _ in proposal.checkpoints])
    delete_garbage(store, proposal.leftovers)
    # A store reports when such an upload began, not when its last part arrived: a large file may take hours.
    store.abort_uploads(datetime.now(UTC) - 24 * idle)
