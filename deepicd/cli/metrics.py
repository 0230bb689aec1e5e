"""`deepicd metrics`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from deepicd.cli.lines import ON_ERROR_HELP, OnError, Skipped


def metrics(
    train_counts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON object of code to admissions of the training set, for F1 by code frequency."),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Bootstrap samples of patients for the 95% intervals; 0 turns them off.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    on_error: Annotated[OnError, typer.Option(help=ON_ERROR_HELP)] = OnError.STOP,
) -> None:
    """Compute the metrics of any model's answers: JSON lines in, metrics.json out.

    Takes {"id", "subject_id", "gold", "prediction"}, one admission per line; null is a missing prediction.
    Dots, case and surrounding space of codes are ignored. The output explains each number.

    A code is valid if it was billable in any fiscal year from 2016 to 2026; "local_gold": true marks a gold code of your
    own. "fiscal_years": [first, last], those the admission can be in, adds the rate of codes of other years.

    Example: deepicd metrics --train-counts counts.json < in.jsonl > metrics.json
    """
    from deepicd.evaluation import external  # numpy would slow every other command down
    from deepicd.evaluation.metrics import compute

    with Skipped(on_error) as skipped:
        answers = external.read(sys.stdin.buffer, on_fault=skipped.on_fault)
    local = {answer.gold for answer in answers if answer.local_gold}
    counts = None if train_counts is None else external.read_counts(train_counts, local)
    computed = compute(answers, train_counts=counts, bootstrap_samples=bootstrap, seed=seed)
    sys.stdout.write(json.dumps(computed, indent=2, allow_nan=False) + "\n")
