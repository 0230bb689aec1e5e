"""`deepicd run`, `sft`, `grpo`, `evaluate`: run all stages, or up to one."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from deepicd.cli.spec import SpecFile
from deepicd.errors import UserError
from deepicd.run_layout import RunLayout, usual_folder
from deepicd.spec.load import load
from deepicd.spec.progress import PROGRESS_KEY
from deepicd.spec.run import DeepICDRun

RunFolder = Annotated[Path | None, typer.Option("--dir", help="The run's folder.", show_default="runs/NAME")]
JsonLogs = Annotated[bool, typer.Option("--json", help="Log JSON lines instead of the live table.")]


def run(file: SpecFile, folder: RunFolder = None, json_logs: JsonLogs = False) -> None:
    """Run all stages: prepare, SFT, GRPO, evaluation, report. On the same folder it resumes where it stopped.

    Ctrl-C or SIGTERM saves a checkpoint after the current step and exits with code 143; a second one exits immediately.

    Example: `deepicd run manifests/samples/quickstart.yaml`
    """
    _run_stages(load(file), folder, json_logs)


def sft(file: SpecFile, folder: RunFolder = None, json_logs: JsonLogs = False) -> None:
    """Run the stages up to SFT.

    Example: `deepicd sft run.yaml`
    """
    _run_stages(load(file), folder, json_logs, last="sft")


def grpo(file: SpecFile, folder: RunFolder = None, json_logs: JsonLogs = False) -> None:
    """Run the stages up to GRPO.

    Example: `deepicd grpo run.yaml`
    """
    _run_stages(load(file), folder, json_logs, last="grpo")


def evaluate(file: SpecFile, folder: RunFolder = None, json_logs: JsonLogs = False) -> None:
    """Evaluate a run's models on its test split, and write metrics.json and report.html; earlier stages run first.

    Example: `deepicd evaluate run.yaml`
    """
    _run_stages(load(file), folder, json_logs, last="evaluate")


def _run_stages(chosen: DeepICDRun, folder: Path | None, json_logs: bool, last: str | None = None) -> None:
    from rich.console import Console

    from deepicd.cli import logs, summary
    from deepicd.cli.live_table import LiveProgress, LogProgress
    from deepicd.cli.stop import SignalStop
    from deepicd.evaluation.report import load as load_report
    from deepicd.kubernetes.attempt_config_map import ProgressReport, checkpoints_reported, send_to
    from deepicd.run.evaluate import kl_name
    from deepicd.run.pipeline import run_pipeline
    from deepicd.run.reporter import Reporters
    from deepicd.training.check import check_overrides

    if last is not None and getattr(chosen.spec.stages, last) is None:
        raise UserError(f"spec.stages.{last}: is not in this run: add it")
    place = (folder or usual_folder(chosen.metadata.name)).resolve()
    console = Console()
    live = console.is_terminal and not json_logs
    logs.configure(as_json=json_logs)
    stop = SignalStop()
    stop.install()
    check_overrides(chosen)
    kl = kl_name(chosen)
    with ExitStack() as stack:
        shown = stack.enter_context(LiveProgress(console, kl)) if live else LogProgress(chosen.metadata.name, kl)
        send = send_to(PROGRESS_KEY)
        reports = [stack.enter_context(ProgressReport(send, place))] if send else []
        stored = stack.enter_context(checkpoints_reported())
        restored = reports[0].restored if reports else None
        reporters = Reporters(shown, *reports)
        seconds = run_pipeline(chosen, place, stop, reporters, last=last, on_checkpoint=stored, on_restore=restored)
    results = RunLayout(place).evaluation
    if "evaluate" in seconds:
        if json_logs:
            typer.echo(json.dumps({"seconds": seconds, "report": str(results.report)}))
        else:
            summary.show(console, load_report(place), seconds, results.report)
