"""Restore from the store: the newest intact checkpoint, and the models of finished stages."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from deepicd.artifacts import manifest
from deepicd.artifacts.layout import ATTEMPTS, CheckpointRef, Committed, ModelRef, manifest_key
from deepicd.artifacts.local_layout import Complete, mark_durable
from deepicd.artifacts.manifest import Manifest
from deepicd.artifacts.publish import list_files
from deepicd.artifacts.retention import committed
from deepicd.artifacts.store.base import DamagedError, OnBytes, Store
from deepicd.run_layout import CheckpointFolders

_BEING_FETCHED = ".fetching-"
_Ref = TypeVar("_Ref", CheckpointRef, ModelRef)


def read_manifest(store: Store, ref: Committed) -> Manifest:
    """The manifest of a checkpoint or model, after checking that every listed file exists with its size.

    Raises:
        DamagedError: it cannot be read, or a file is missing or short; names the key.
        UserError, StoreError: see `Store`.
    """
    key = manifest_key(ref)
    found = store.read(key)
    if found is None:
        raise DamagedError(f"{key}: is missing")
    made = manifest.parse(found[0], key)
    sizes = {item.key: item.size for item in store.list(f"{ref.folder}/")}
    for file in made.transfers():
        if file.key not in sizes:
            raise DamagedError(f"{file.key}: is missing")
        if sizes[file.key] != file.size:
            raise DamagedError(f"{file.key}: {sizes[file.key]} bytes instead of {file.size}")
    return made


def restore_checkpoint(store: Store, stage: str, folder: Path) -> CheckpointRef | None:
    """Download and verify the newest intact checkpoint of a stage into verl's folder; returns it, or None.

    A folder that has a complete checkpoint is left unchanged. A damaged checkpoint is skipped with a warning that names
    the damage, and the one before it is used. An interrupted download resumes.

    Raises:
        UserError, StoreError: see `Store`.
    """
    folders = CheckpointFolders(folder)
    if folders.last_step and folders.last.is_dir():
        return None
    ref = _restore(store, CheckpointRef, stage, lambda ref: folders.of(ref.step))
    if ref is not None:
        mark_durable(Complete(folders.of(ref.step), stage, ref.step), ref)
        folders.set_last_step(ref.step)
    return ref


def restore_model(store: Store, stage: str, folder: Path) -> ModelRef | None:
    """Download and verify the newest intact model of a stage (`base`, `sft`, `grpo`) into a folder; returns it, or None.

    Raises:
        UserError, StoreError: see `Store`.
    """
    ref = _restore(store, ModelRef, stage, lambda _: folder)
    if ref is not None:
        mark_durable(Complete(folder, stage, None), ref)
    return ref


def _restore(store: Store, kind: type[_Ref], stage: str, into: Callable[[_Ref], Path]) -> _Ref | None:
    """Download the newest of a stage that is intact, over all attempts."""
    stored = [ref for ref in committed(store.list(ATTEMPTS)) if isinstance(ref, kind) and ref.stage == stage]
    for ref in sorted(stored, reverse=True):
        try:
            fetch(store, read_manifest(store, ref), into(ref))
        except DamagedError as error:
            structlog.get_logger().warning("is damaged, the one before it is used", damaged=str(ref), reason=str(error))
        else:
            return ref
    return None


def fetch(store: Store, made: Manifest, folder: Path, on_bytes: OnBytes | None = None) -> None:
    """Download what a manifest lists; `folder` is created or replaced once everything is verified.

    Raises:
        DamagedError: a file is missing, short or altered; names its key.
        UserError, StoreError: see `Store`.
    """
    # Named after the checkpoint or model, so that a download resumes only from files of the same one.
    name = made.ref.folder.replace("/", "-")
    temporary = folder.with_name(f"{_BEING_FETCHED}{name}")
    begin = len(made.ref.folder) + 1
    try:
        store.download(((file.key, temporary / file.key[begin:], file) for file in made.transfers()), on_bytes)
    except DamagedError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for leftover in list_files(temporary).keys() - {file.path for file in made.files}:
        (temporary / leftover).unlink()
    if folder.exists():
        shutil.rmtree(folder)
    temporary.replace(folder)
    for other in folder.parent.glob(f"{_BEING_FETCHED}*"):
        shutil.rmtree(other, ignore_errors=True)
