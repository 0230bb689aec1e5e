"""`deepicd sync`: the uploader as a separate process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepicd.cli.durations import duration
from deepicd.cli.grace import Signals
from deepicd.errors import UserError

if TYPE_CHECKING:
    from deepicd.artifacts.claim import Writer
    from deepicd.artifacts.local_layout import Source
    from deepicd.artifacts.store.base import Store
    from deepicd.artifacts.sync import Sync
    from deepicd.spec.run import DeepICDRun


def sync(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="FOLDER", help="verl's checkpoint folder; with --spec the run's folder.", show_default="runs/NAME"
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="Root of the run in the store: s3://BUCKET/PREFIX/RUN or a folder.", show_default="--spec's"
        ),
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Number of the attempt.", show_default="$DEEPICD_ATTEMPT, or the next free one")
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the S3 store.", show_default="AWS")
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(metavar="FILE", help="run.yaml: its storage, and the folder of the whole run.")
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="With --spec: --dir is verl's folder for this stage.", show_default="grpo"),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Upload what is complete, then exit.")] = False,
    grace: Annotated[str, typer.Option(metavar="TIME", help="Time after SIGTERM to store what is complete and exit.")] = "5m",
    grace_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File with the time, as /proc/uptime writes it, to count --grace from.", show_default="SIGTERM"
        ),
    ] = None,
    json_logs: Annotated[bool, typer.Option("--json", help="Log JSON lines.")] = False,
) -> None:
    """Upload checkpoints, models, metrics and logs while a run writes them.

    Exits when DIR/run-finished exists and everything is durable. After SIGTERM it stores what is complete within --grace, or
    reports what is missing and exits with code 75; a second SIGTERM ends it immediately.

    Example: `deepicd sync --dir checkpoints --store s3://models/deepicd/quickstart --attempt 1`
    """
    signals = None if once else Signals()
    from deepicd.artifacts.claim import choose_attempt, sole_writer
    from deepicd.cli import logs
    from deepicd.cli.uploader import Uploader
    from deepicd.kubernetes.attempt_config_map import upload_report
    from deepicd.spec.load import load

    logs.configure(as_json=json_logs)
    patience = duration("--grace", grace)
    run = None if spec is None else load(spec)
    source = _source(run, folder, stage)
    target = _store(run, store, endpoint_url)

    def begin(writer: Writer) -> Sync:
        return _sync(run, target, choose_attempt(target, source.folder, writer, attempt), source)

    if signals is not None:
        Uploader(target, source, begin, upload_report()).run(signals, patience, grace_from)
        return
    if not source.folder.is_dir():
        raise UserError(f"{source.folder}: does not exist: give the folder that training writes to")
    with sole_writer(source.folder) as writer:
        begin(writer).once()


def _store(run: DeepICDRun | None, address: str | None, endpoint_url: str | None) -> Store:
    from deepicd.artifacts.store import open_store
    from deepicd.run.stored import store_of

    if address is None:
        found = None if run is None else store_of(run, endpoint_url)
        if found is None:
            raise UserError("--store: give the run's root in the store, or --spec with a run.yaml that has spec.storage")
        return found
    if "://" not in address:
        address = str(Path(address).absolute())
    return open_store(address, storage=None if run is None else run.spec.storage, endpoint_url=endpoint_url)


def _source(run: DeepICDRun | None, folder: Path | None, stage: str | None) -> Source:
    from deepicd.artifacts.local_layout import VerlFolder
    from deepicd.run.stored import run_folder
    from deepicd.run_layout import TRAINING_STAGES, usual_folder

    if stage is not None and stage not in TRAINING_STAGES:
        raise UserError(f"--stage: is '{stage}': give {' or '.join(TRAINING_STAGES)}")
    if folder is None and (run is None or stage is not None):
        raise UserError("--dir: give the folder that verl writes its checkpoints to")
    if run is None or stage is not None:
        return VerlFolder(Path(folder or "").resolve(), stage or "grpo")
    return run_folder(run, (folder or usual_folder(run.metadata.name)).resolve())


def _sync(run: DeepICDRun | None, target: Store, attempt: int, source: Source) -> Sync:
    from deepicd.artifacts.publish import Origin
    from deepicd.artifacts.sync import Sync
    from deepicd.run.stored import sync_of

    if run is None:
        return Sync(target, attempt, source, Origin(target.url.rstrip("/").rpartition("/")[2]))
    return sync_of(run, target, attempt, source)
