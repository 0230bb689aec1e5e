"""The `deepicd` command."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn

from deepicd import extras
from deepicd.cli import artifacts, data
from deepicd.cli.cluster import cancel, logs, resume, status, submit, wait
from deepicd.cli.compare import compare
from deepicd.cli.icd10 import icd10
from deepicd.cli.judge import judge
from deepicd.cli.metrics import metrics
from deepicd.cli.predict import predict
from deepicd.cli.program import Program, add_version, call
from deepicd.cli.report import report
from deepicd.cli.reward import reward
from deepicd.cli.run import distill, evaluate, grpo, run, sft
from deepicd.cli.samples import samples
from deepicd.cli.spec import schema, show_config, validate
from deepicd.cli.sync import sync
from deepicd.errors import DeepICDError, ExitCode, UserError
from deepicd.spec.environment import PROGRESS

cli = Program(
    name="deepicd",
    help="Train and evaluate reasoning models that predict ICD-10-CM codes from admission notes. "
    "Research use only: not for diagnosis, decision support, triage, unsupervised coding or billing.",
)
add_version(cli, "deepicd")
for command in (
    run, validate, schema, show_config, distill, sft, grpo, evaluate, metrics, compare, predict, reward, judge, icd10, report,
    samples, sync,
):  # fmt: skip
    cli.command()(command)
for on_cluster in (submit, status, logs, wait, cancel, resume):
    cli.command(rich_help_panel="On a cluster")(on_cluster)
cli.add_typer(data.app, name="data")
cli.add_typer(artifacts.app, name="artifacts")


def app() -> NoReturn:
    """Run the command line; a `DeepICDError` becomes a line on stderr, or one per problem, and its exit code."""
    try:
        call(cli)
    except DeepICDError as error:
        for line in error.problems if isinstance(error, UserError) else (error,):
            sys.stderr.write(f"error: {line}\n")
        if PROGRESS in os.environ:
            from deepicd.kubernetes.attempt_config_map import write_termination_log

            write_termination_log(error)
        _leave(error.exit_code, at_once=error.at_once)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {extras.missing(error)}\n")
        _leave(ExitCode.USER_ERROR)
    _leave(ExitCode.DONE)


def _leave(code: int, *, at_once: bool = False) -> NoReturn:
    """End the process; an abandoned upload may still wait for its store in a thread that Python would wait for."""
    sys.stdout.flush()
    sys.stderr.flush()
    if at_once or any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)
