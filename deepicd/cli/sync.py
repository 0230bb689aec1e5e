"""`deepicd sync`: the uploader as a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, TypeVar

import structlog
import typer

from deepicd.artifacts.layout import LATEST
from deepicd.errors import StoreError, UserError
from deepicd.spec.base import parse_duration

if TYPE_CHECKING:
    from deepicd.artifacts.sources import Source
    from deepicd.artifacts.store import Store
    from deepicd.artifacts.sync import Sync
    from deepicd.spec.run import DeepICDRun

T = TypeVar("T")

_EXIT_MISSING = 75
_EXIT_TERMINATED = 143
_POLL_SECONDS = 1.0


def sync(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="verl's checkpoint folder; with --spec the run's folder.", show_default="runs/NAME"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Root of the run in the store: s3://BUCKET/PREFIX/RUN or a folder.", show_default="--spec's"),
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Number of the attempt.", show_default="$DEEPICD_ATTEMPT, or the next free one")
    ] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of the S3 store.", show_default="AWS")] = None,
    spec: Annotated[Path | None, typer.Option(help="run.yaml: its storage, and the folder of the whole run.")] = None,
    stage: Annotated[
        str | None, typer.Option(help="With --spec: --dir is verl's folder of this stage.", show_default="grpo")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Upload what is complete, and end.")] = False,
    grace: Annotated[str, typer.Option(help="After SIGTERM, time to finish what is complete.")] = "5m",
    json_logs: Annotated[bool, typer.Option("--json", help="Log JSON lines.")] = False,
) -> None:
    """Upload checkpoints, models, metrics and logs while a run makes them.

    Ends when DIR/run-finished appears and the last byte is durable. SIGTERM: finishes what is complete within --grace, or says
    what is missing and leaves with exit code 75; a second one leaves at once.

    Example: `deepicd sync --dir checkpoints --store s3://models/deepicd/quickstart --attempt 1`
    """
    from deepicd.artifacts.claim import choose_attempt, sole_writer
    from deepicd.cli import logs
    from deepicd.cluster.progress import checkpoints_reported
    from deepicd.spec.load import load

    logs.configure(as_json=json_logs)
    patience = _grace(grace)
    run = None if spec is None else load(spec)
    source = _source(run, folder, stage)
    target = _store(run, store, endpoint_url)
    if once:
        if not source.folder.is_dir():
            raise UserError(f"{source.folder}: does not exist: give the folder that training writes to")
        with sole_writer(source.folder) as writer:
            _sync(run, target, choose_attempt(target, source.folder, writer, attempt), source).once()
        return
    requested = _Requested()
    # A wrong secret or bucket ends it now, not after hours of training.
    _patiently(lambda: target.read(LATEST))
    while not source.folder.is_dir():
        if requested.event.wait(_POLL_SECONDS):
            return
    with sole_writer(source.folder) as writer, checkpoints_reported() as on_checkpoint:
        number = _patiently(lambda: choose_attempt(target, source.folder, writer, attempt))
        at_work = _sync(run, target, number, source)
        at_work.on_checkpoint = on_checkpoint
        _follow(at_work, requested, patience)


def _patiently(act: Callable[[], T]) -> T:
    """Try again until the store answers: training goes on meanwhile."""
    while True:
        try:
            return act()
        except StoreError as error:
            structlog.get_logger().warning("store does not answer, trying again", reason=str(error))
            time.sleep(_POLL_SECONDS)


def _follow(at_work: Sync, requested: _Requested, patience: timedelta) -> None:
    at_work.start()
    while not requested.event.is_set():
        if at_work.join(_POLL_SECONDS):
            return
    at_work.request_end()
    if not at_work.join(patience.total_seconds()):
        missing = at_work.missing()
        sys.stderr.write(f"error: not stored within --grace: {', '.join(missing)}: run deepicd sync again on this folder\n")
        sys.stderr.flush()
        os._exit(_EXIT_MISSING)  # uploads in progress are not waited for: what has no manifest does not exist


class _Requested:
    """SIGTERM or Ctrl-C: the first asks for the end, the second ends the process."""

    def __init__(self) -> None:
        self.event = threading.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.event.is_set():
            os._exit(_EXIT_TERMINATED)
        self.event.set()


def _grace(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"--grace: {error} (got '{text}')") from None


def _store(run: DeepICDRun | None, address: str | None, endpoint_url: str | None) -> Store:
    from deepicd.artifacts.store import open_store
    from deepicd.pipeline.stored import store_of

    if address is None:
        found = None if run is None else store_of(run, endpoint_url)
        if found is None:
            raise UserError("--store: give the run's root in the store, or --spec with a run.yaml that has spec.storage")
        return found
    if "://" not in address:
        address = str(Path(address).absolute())
    return open_store(address, storage=None if run is None else run.spec.storage, endpoint_url=endpoint_url)


def _source(run: DeepICDRun | None, folder: Path | None, stage: str | None) -> Source:
    from deepicd.artifacts.layout import TRAINING_STAGES
    from deepicd.artifacts.sources import RunFolder, VerlFolder

    if stage is not None and stage not in TRAINING_STAGES:
        raise UserError(f"--stage: is '{stage}': give {' or '.join(TRAINING_STAGES)}")
    if folder is None and (run is None or stage is not None):
        raise UserError("--dir: give the folder that verl writes its checkpoints to")
    if run is None or stage is not None:
        return VerlFolder(Path(folder or "").resolve(), stage or "grpo")
    return RunFolder((folder or Path("runs") / run.metadata.name).resolve())


def _sync(run: DeepICDRun | None, target: Store, attempt: int, source: Source) -> Sync:
    from deepicd.artifacts.publish import Origin
    from deepicd.artifacts.sync import Sync
    from deepicd.pipeline.stored import sync_of

    if run is None:
        return Sync(target, attempt, source, Origin(target.url.rstrip("/").rpartition("/")[2]))
    return sync_of(run, target, attempt, source)
