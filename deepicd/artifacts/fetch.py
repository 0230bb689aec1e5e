"""Select an artefact of a run by kind, attempt, stage and step, and download it to a local folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deepicd import atomic
from deepicd.artifacts.layout import (
    ATTEMPTS,
    CheckpointRef,
    Committed,
    ModelRef,
    cards_folder,
    evaluation_folder,
    logs_folder,
    manifest_key,
    parse_attempt,
)
from deepicd.artifacts.manifest import Manifest
from deepicd.artifacts.restore import fetch, read_manifest
from deepicd.artifacts.retention import committed
from deepicd.artifacts.store.base import DamagedError, OnBytes, Store
from deepicd.artifacts.store.folder import local_errors
from deepicd.artifacts.verify import matches
from deepicd.errors import UserError
from deepicd.run_layout import CARDS, CheckpointFolders

KINDS = ("checkpoint", "model", "evaluation", "logs")


@dataclass(frozen=True)
class Wanted:
    """The artefact that a user asks for; None means the newest."""

    kind: str
    attempt: int | None = None
    stage: str | None = None
    step: int | None = None

    def choose(self, store: Store) -> Manifest:
        """The manifest of the newest checkpoint or model that fits.

        Raises:
            UserError: none fits, or it is damaged.
        """
        kind = CheckpointRef if self.kind == "checkpoint" else ModelRef
        fitting = [ref for ref in committed(store.list(ATTEMPTS)) if isinstance(ref, kind) and self._fits(ref)]
        if not fitting:
            raise UserError(f"{store.url}: has no {self}: see 'deepicd artifacts ls'")
        newest: Committed = max(fitting)
        try:
            return read_manifest(store, newest)
        except DamagedError as error:
            raise UserError(f"{store.url}/{error}: {_other(store, newest)}") from None

    def _fits(self, ref: Committed) -> bool:
        step = ref.step if isinstance(ref, CheckpointRef) else None
        return self.attempt in (None, ref.attempt) and self.stage in (None, ref.stage) and self.step in (None, step)

    def __str__(self) -> str:
        limits = {"attempt": self.attempt, "stage": self.stage, "step": self.step}
        return " ".join([self.kind, *(f"{name} {value}" for name, value in limits.items() if value is not None)])


def fetch_committed(store: Store, made: Manifest, out: Path, on_bytes: OnBytes | None = None) -> Path:
    """Download and verify a checkpoint (`global_step_N`) or model (`model-STAGE`) into `out`; returns its folder.

    Raises:
        UserError: a different folder has that name, or the stored files are damaged.
        StoreError: see `Store`.
    """
    target = out / f"model-{made.stage}" if made.step is None else CheckpointFolders(out).of(made.step)
    if target.exists():
        if not matches(made, target):
            raise UserError(f"{target}: exists, and is not {made.ref}: give another --dir, or delete it")
        return target
    try:
        fetch(store, made, target, on_bytes)
    except DamagedError as error:
        raise UserError(f"{store.url}/{error}: {_other(store, made.ref)}") from None
    return target


def fetch_cards(store: Store, stage: str, model: Path) -> list[Path]:
    """Download the cards of a stage's model, from the newest evaluation that wrote them, into the model's folder."""
    attempts = {number for item in store.list(ATTEMPTS) if (number := parse_attempt(item.key))}
    for attempt in sorted(attempts, reverse=True):
        found = {name: store.read(f"{cards_folder(attempt, stage)}/{name}") for name in CARDS}
        if any(found.values()):
            for name, content in found.items():
                if content is not None:
                    with local_errors(model / name):
                        atomic.write(model / name, content[0])
            return [model / name for name, content in found.items() if content is not None]
    return []


def _other(store: Store, damaged: Committed) -> str:
    """What to do about a damaged checkpoint or model."""
    others = [ref for ref in committed(store.list(ATTEMPTS)) if isinstance(ref, type(damaged)) and ref != damaged]
    if not others:
        return f"no other one is stored: delete {store.url}/{damaged.folder}, and let the run store it again"
    newest: Committed = max(others)
    step = f" --step {newest.step}" if isinstance(newest, CheckpointRef) else ""
    return f"give --attempt {newest.attempt} --stage {newest.stage}{step} for another one"


def fetch_files(store: Store, wanted: Wanted, out: Path) -> Iterator[Path]:
    """Download an attempt's evaluation or logs into `out`; yields the path of each file once it is written."""
    folder = _folder(store, wanted)
    for key in keys(store, wanted):
        found = store.read(key)
        if found is None:
            continue
        path = out / key.removeprefix(f"{folder}/")
        with local_errors(path):
            atomic.write(path, found[0])
        yield path


def keys(store: Store, wanted: Wanted) -> list[str]:
    """Keys of the wanted files.

    Raises:
        UserError: there are none.
    """
    if wanted.kind in ("checkpoint", "model"):
        made = wanted.choose(store)
        return [*(file.key for file in made.transfers()), manifest_key(made.ref)]
    folder = _folder(store, wanted)
    found = [item.key for item in store.list(f"{folder}/")]
    if not found:
        raise UserError(f"{store.url}: has no {wanted}: see 'deepicd artifacts ls'")
    return found


def _folder(store: Store, wanted: Wanted) -> str:
    """The wanted folder of the newest attempt that has one."""
    of = evaluation_folder if wanted.kind == "evaluation" else logs_folder
    if wanted.attempt is not None:
        return of(wanted.attempt)
    stored = [item.key for item in store.list(ATTEMPTS)]
    attempts = {number for key in stored if (number := parse_attempt(key)) and key.startswith(f"{of(number)}/")}
    return of(max(attempts, default=1))
