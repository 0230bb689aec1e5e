"""Which checkpoints to delete from the store, and what interrupted uploads and deletions have left there.

The manifest is deleted before the files: an interrupted deletion leaves files without a manifest, which are garbage, and
never a manifest without its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from deepicd.artifacts import latest, manifest
from deepicd.artifacts.layout import (
    ATTEMPTS,
    MANIFEST,
    CheckpointRef,
    Committed,
    manifest_key,
    parse_committed,
)
from deepicd.artifacts.manifest import Manifest
from deepicd.artifacts.store.base import DamagedError, Store, StoredObject
from deepicd.run_layout import TRAINING_STAGES

REWARD = "reward"


@dataclass(frozen=True)
class Keep:
    """How many checkpoints of a stage to keep, over all attempts."""

    last: int = 3
    best: int = 1
    """Those with the highest validation reward."""


def plan(
    rewards: Mapping[CheckpointRef, float | None], keep: Keep, protected: Iterable[CheckpointRef] = ()
) -> list[CheckpointRef]:
    """The checkpoints to delete, oldest first.

    Args:
        rewards: every checkpoint that exists, with its validation reward where one was measured.
        keep: the newest of a stage is kept even if `last` is 0.
        protected: also kept: what `latest.json` names.
    """
    stay = set(protected)
    for stage in TRAINING_STAGES:
        newest_first = sorted((ref for ref in rewards if ref.stage == stage), reverse=True)
        stay.update(newest_first[: max(keep.last, 1)])
        measured = [(reward, ref) for ref in newest_first if (reward := rewards[ref]) is not None]
        stay.update(ref for _, ref in sorted(measured, reverse=True)[: keep.best])
    return sorted(ref for ref in rewards if ref not in stay)


def garbage(
    objects: Iterable[StoredObject], manifests: Mapping[Committed, Manifest], idle_since: datetime
) -> list[StoredObject]:
    """Files in the folders of checkpoints and models that no manifest lists.

    A folder that was written to after `idle_since` is left alone: an upload may be in progress.

    Args:
        objects: the listing of a run.
        manifests: every readable manifest of the run; a folder with an unreadable one is left alone.
        idle_since: a time by the store's clock.
    """
    folders: dict[Committed, list[StoredObject]] = {}
    for item in objects:
        if found := parse_committed(item.key):
            folders.setdefault(found[0], []).append(item)
    unlisted: list[StoredObject] = []
    for ref, items in folders.items():
        made = manifests.get(ref)
        if made is None and any(item.key == manifest_key(ref) for item in items):
            continue
        if all(item.modified < idle_since for item in items):
            listed = {file.key for file in made.transfers()} | {manifest_key(ref)} if made else set()
            unlisted += [item for item in items if item.key not in listed]
    return unlisted


def read_manifests(store: Store, refs: Iterable[Committed]) -> dict[Committed, Manifest | None]:
    """The manifests of these checkpoints and models; None for one that cannot be read."""
    found: dict[Committed, Manifest | None] = {}
    for ref in refs:
        key = manifest_key(ref)
        if content := store.read(key):
            try:
                found[ref] = manifest.parse(content[0], key)
            except DamagedError:
                found[ref] = None
    return found


def committed(objects: Iterable[StoredObject]) -> list[Committed]:
    """The checkpoints and models of a listing that have a manifest."""
    return [found[0] for item in objects if (found := parse_committed(item.key)) and found[1] == MANIFEST]


def plan_for(store: Store, manifests: Mapping[Committed, Manifest | None], keep: Keep) -> list[CheckpointRef]:
    """`plan` for the contents of a store.

    A checkpoint with an unreadable manifest is neither counted among those to keep nor deleted.
    """
    rewards = {
        ref: (made.metrics or {}).get(REWARD) for ref, made in manifests.items() if made and isinstance(ref, CheckpointRef)
    }
    try:
        current = latest.read(store)
    except DamagedError:
        current = None
    return plan(rewards, keep, [current.ref] if current else [])


def delete(store: Store, refs: Iterable[CheckpointRef]) -> None:
    """Delete checkpoints, each manifest before its files."""
    for ref in refs:
        store.delete([manifest_key(ref)])
        store.delete([item.key for item in store.list(f"{ref.folder}/")])


def delete_garbage(store: Store, items: Iterable[StoredObject]) -> None:
    """Delete what `garbage` found, unless a manifest lists it now."""
    folders: dict[Committed, list[StoredObject]] = {}
    for item in items:
        if found := parse_committed(item.key):
            folders.setdefault(found[0], []).append(item)
    for ref, unlisted in folders.items():
        now = read_manifests(store, [ref]).get(ref)
        listed = {file.key for file in now.transfers()} if now else set()
        store.delete([item.key for item in unlisted if item.key not in listed])


def apply(store: Store, keep: Keep, may: Callable[[CheckpointRef], bool]) -> list[CheckpointRef]:
    """Delete the checkpoints beyond `keep` that `may` allows; returns them."""
    manifests = read_manifests(store, committed(store.list(ATTEMPTS)))
    chosen = [ref for ref in plan_for(store, manifests, keep) if may(ref)]
    delete(store, chosen)
    return chosen
