"""`deepicd run`, `distill`, `sft`, `grpo`, `evaluate`: run all stages, or up to one."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from deepicd import extras
from deepicd.cli.spec import SpecFile
from deepicd.errors import UserError
from deepicd.run_layout import RunLayout, usual_folder
from deepicd.spec.load import load
from deepicd.spec.progress import PROGRESS_KEY
from deepicd.spec.run import DeepICDRun

if TYPE_CHECKING:
    from rich.console import Console

RunFolder = Annotated[Path | None, typer.Option("--dir", metavar="FOLDER", help="The run's folder.", show_default="runs/NAME")]
JsonLogs = Annotated[bool, typer.Option("--json", help="Log JSON lines instead of the live table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings, errors and the results.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also show the training stack's logs, on stderr.")]


@dataclass(frozen=True)
class Shown:
    """What a run shows while it runs."""

    as_json: bool
    """Log lines as JSON."""
    quiet: bool
    """No progress."""
    verbose: bool
    """The logs of the training stack too."""


def run(
    file: SpecFile, folder: RunFolder = None, json_logs: JsonLogs = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Run all stages: prepare, distillation, SFT, GRPO, evaluation, report. On the same folder it resumes where it stopped.

    Ctrl-C or SIGTERM saves a checkpoint after the current step and exits with code 143; a second one exits immediately.

    Example: `deepicd run manifests/samples/quickstart.yaml`
    """
    _run_stages(load(file), folder, Shown(json_logs, quiet, verbose))


def distill(
    file: SpecFile, folder: RunFolder = None, json_logs: JsonLogs = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Run the stages up to distillation: a teacher writes the reasoning traces that SFT learns from.

    The teacher is `stages.distill.teacher` in run.yaml: another run, a model, or a server with the OpenAI API. The traces are
    in `stages/distill/traces.jsonl` of the run's folder, what was kept, rejected and paid in `distill.json` beside it. On the
    same folder it resumes, and asks for no answer twice. `deepicd sft` and `deepicd run` continue from there.

    Example: `deepicd distill run.yaml`
    """
    _run_stages(load(file), folder, Shown(json_logs, quiet, verbose), last="distill")


def sft(
    file: SpecFile, folder: RunFolder = None, json_logs: JsonLogs = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Run the stages up to SFT.

    Example: `deepicd sft run.yaml`
    """
    _run_stages(load(file), folder, Shown(json_logs, quiet, verbose), last="sft")


def grpo(
    file: SpecFile, folder: RunFolder = None, json_logs: JsonLogs = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Run the stages up to GRPO.

    Example: `deepicd grpo run.yaml`
    """
    _run_stages(load(file), folder, Shown(json_logs, quiet, verbose), last="grpo")


def evaluate(
    file: SpecFile, folder: RunFolder = None, json_logs: JsonLogs = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Evaluate a run's models on its test split, and write metrics.json and report.html; earlier stages run first.

    Example: `deepicd evaluate run.yaml`
    """
    _run_stages(load(file), folder, Shown(json_logs, quiet, verbose), last="evaluate")


def _run_stages(chosen: DeepICDRun, folder: Path | None, wanted: Shown, last: str | None = None) -> None:
    needed = extras.TRAINING if chosen.spec.storage is None or chosen.spec.storage.s3 is None else (*extras.TRAINING, "boto3")
    if chosen.spec.stages.distill is not None:
        needed = (*needed, "rensa")
    extras.require("deepicd run", needed)
    from rich.console import Console

    from deepicd.cli import logs
    from deepicd.cli.follow import FollowedLogs
    from deepicd.cli.live_table import LiveProgress
    from deepicd.cli.log_progress import LogProgress
    from deepicd.cli.stop import SignalStop
    from deepicd.cli.stop_notice import StopNotice
    from deepicd.kubernetes.attempt_config_map import ProgressReport, checkpoints_reported, send_to
    from deepicd.run.evaluate import kl_name
    from deepicd.run.pipeline import run_pipeline
    from deepicd.run.reporter import Reporters
    from deepicd.run.trackers import Trackers

    if wanted.quiet and wanted.verbose:
        raise UserError("--quiet: is given with --verbose: leave one of them out")
    if last is not None and getattr(chosen.spec.stages, last) is None:
        raise UserError(f"spec.stages.{last}: is not in this run: add it")
    place = (folder or usual_folder(chosen.metadata.name)).resolve()
    console = Console()
    live = console.is_terminal and not (wanted.as_json or wanted.quiet or wanted.verbose)
    logs.configure(as_json=wanted.as_json, quiet=wanted.quiet)
    stop = SignalStop()
    stop.install()
    _check(chosen)
    kl = kl_name(chosen)
    with ExitStack() as stack:
        shown = stack.enter_context(LiveProgress(console, kl)) if live else LogProgress(chosen.metadata.name, kl)
        if wanted.verbose:
            stack.enter_context(FollowedLogs(place))
        send = send_to(PROGRESS_KEY)
        reports = [stack.enter_context(ProgressReport(send, place))] if send else []
        stored = stack.enter_context(checkpoints_reported())
        restored = reports[0].restored if reports else None
        trackers = stack.enter_context(Trackers(chosen, place))
        notice = StopNotice()
        stop.acknowledge(lambda signals: shown.stopping(signals, notice.text(signals)))
        reporters = Reporters(shown, notice, trackers, *reports)
        seconds = run_pipeline(chosen, place, stop, reporters, last=last, on_checkpoint=stored, on_restore=restored)
    if "evaluate" in seconds:
        _show_results(chosen, place, seconds, console, as_json=wanted.as_json)
    else:
        _show_last(RunLayout(place), seconds, as_json=wanted.as_json)


def _show_last(layout: RunLayout, seconds: dict[str, float], *, as_json: bool) -> None:
    """Print where the result of the last stage is: traces or a model."""
    last = layout.stage(list(seconds)[-1])
    kind, path = ("traces", last.distilled) if last.name == "distill" else ("model", last.model)
    typer.echo(json.dumps({"seconds": seconds, kind: str(path)}) if as_json else f"\n{kind.capitalize()}: {path}")


def _show_results(chosen: DeepICDRun, place: Path, seconds: dict[str, float], console: Console, *, as_json: bool) -> None:
    from deepicd.cli import summary
    from deepicd.evaluation.report import load as load_report
    from deepicd.evaluation.warnings import warnings

    report, found = RunLayout(place).evaluation.report, load_report(place)
    said = warnings(found.metrics, synthetic=found.is_synthetic, left_out=found.left_out or ())
    if as_json:
        typer.echo(json.dumps({"seconds": seconds, "report": str(report), "warnings": said}))
    else:
        summary.show(console, found, said, seconds, report)


def _check(chosen: DeepICDRun) -> None:
    """Look at what the run needs. Raises: UserError: it cannot succeed."""
    from deepicd.run.inputs import look

    found = look(chosen)
    for warning in found.warnings:
        structlog.get_logger().warning(warning)
    found.raise_any()
