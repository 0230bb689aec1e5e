"""A run with a store: restore what it needs, and upload what it writes while it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from deepicd import atomic
from deepicd.artifacts.claim import choose_attempt, sole_writer
from deepicd.artifacts.identity import run_path, spec_digest
from deepicd.artifacts.layout import step_metrics_folder
from deepicd.artifacts.local_layout import RunFolder, Source
from deepicd.artifacts.publish import Origin
from deepicd.artifacts.restore import restore_checkpoint, restore_model
from deepicd.artifacts.retention import Keep
from deepicd.artifacts.store import open_store, store_url
from deepicd.artifacts.store.base import Store
from deepicd.artifacts.sync import Metrics, Sync
from deepicd.run_layout import TRAINING_STAGES, RunLayout, StageLayout
from deepicd.spec.environment import SIDECAR
from deepicd.spec.progress import Checkpoint
from deepicd.spec.run import DeepICDRun
from deepicd.training.step_metrics import all_steps
from deepicd.training.supervise import Stop

FAILED_RUN_SECONDS = 300.0
"""How long a run that ended with an error waits for its uploads, if the store does not answer."""


def store_of(run: DeepICDRun, endpoint_url: str | None = None) -> Store | None:
    """The store of a run, rooted at the run, or None if it has none; `endpoint_url` overrides the spec's."""
    storage = run.spec.storage
    if storage is None:
        return None
    return open_store(f"{store_url(storage)}/{run_path(run)}", storage=storage, endpoint_url=endpoint_url)


def run_folder(run: DeepICDRun, folder: Path) -> RunFolder:
    """A run's folder, with what of it the run lets upload."""
    return RunFolder(folder, rollouts=run.spec.storage is not None and run.spec.storage.rollouts)


def sync_of(run: DeepICDRun, store: Store, attempt: int, source: Source) -> Sync:
    """The uploads of one attempt of a run."""
    storage = run.spec.storage
    keep = None if storage is None else Keep(storage.keep_last, storage.keep_best)
    return Sync(store, attempt, source, Origin(run.metadata.name, spec_digest(run)), step_metrics(source.folder), keep)


@contextmanager
def uploading(
    run: DeepICDRun,
    store: Store | None,
    folder: Path,
    stop: Stop,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
) -> Iterator[None]:
    """Upload the run's folder while the body runs; at its end, wait until everything is durable.

    `on_checkpoint` is called with each checkpoint that this process stores, not those of a separate uploader.

    A second signal ends the waiting: what is missing then is logged, and uploaded by the next launch.

    Raises:
        UserError, StoreError: the store cannot be used; raised before the body runs.
    """
    finished = RunLayout(folder).finished
    finished.unlink(missing_ok=True)
    if store is None or os.environ.get(SIDECAR):
        try:
            yield
        finally:
            finished.touch()
        return
    with sole_writer(folder) as writer:
        attempt = choose_attempt(store, folder, writer)
        sync = sync_of(run, store, attempt, run_folder(run, folder))
        sync.on_checkpoint = on_checkpoint
        sync.start()
        patience: float | None = None
        try:
            yield
        except BaseException:
            patience = FAILED_RUN_SECONDS
            raise
        finally:
            finished.touch()
            _wait(sync, store, stop, patience)


def _wait(sync: Sync, store: Store, stop: Stop, patience: float | None) -> None:
    waited = 0.0
    while not sync.join(1.0):
        waited += 1.0
        if waited == 5.0:
            structlog.get_logger().info("waiting for uploads", store=store.url, missing=len(sync.missing()))
        if stop.insisted or (patience is not None and waited > patience):
            structlog.get_logger().warning(
                "left before everything was stored: run again to resume", store=store.url, missing=sync.missing()
            )
            return


def restore_stage(store: Store, stage: str, folder: Path, on_restore: Callable[[str], None] | None = None) -> bool:
    """Restore a training stage's model, or else its newest intact checkpoint; returns whether the stage is finished.

    What is already on this machine stays. `on_restore` is called with the address of a restored checkpoint.

    Raises:
        UserError, StoreError: see `Store`.
    """
    files = StageLayout(folder)
    if stage not in TRAINING_STAGES or files.checkpoints.last_step:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    model = restore_model(store, stage, files.model)
    found = model or restore_checkpoint(store, stage, files.checkpoints.folder)
    if found is None:
        return False
    if not files.metrics.exists():
        _restore_metrics(store, found.attempt, stage, files.metrics)
    structlog.get_logger().info("restored", text=f"{found} from {store.url}", stage=stage, what=str(found), store=store.url)
    if model is None and on_restore is not None:
        on_restore(f"{store.url}/{found.folder}")
    return model is not None


def _restore_metrics(store: Store, attempt: int, stage: str, folder: Path) -> None:
    """Restore the curves so far; each attempt's logs include those of the attempts that it resumed from."""
    prefix = f"{step_metrics_folder(attempt, stage)}/"
    for item in store.list(prefix):
        found = store.read(item.key)
        path = folder / item.key.removeprefix(prefix)
        if found is not None and path.resolve().is_relative_to(folder.resolve()):
            atomic.write(path, found[0])


def step_metrics(folder: Path) -> Metrics:
    """The metrics of a run's steps, as its manifests have them."""

    def of_step(stage: str, step: int) -> dict[str, float] | None:
        rows = [row for row in all_steps(RunLayout(folder).stage(stage).metrics) if row.step == step]
        if not rows:
            return None
        values = {"reward": rows[0].validation_reward, "trainingReward": rows[0].reward, "loss": rows[0].loss}
        return {name: value for name, value in values.items() if value is not None}

    return of_step
