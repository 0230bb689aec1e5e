"""`deepicd metrics`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def metrics(
    train_counts: Annotated[
        Path | None,
        typer.Option(help="JSON object of code to admissions of the training set, for F1 by code frequency."),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Samples of patients for the 95% intervals; 0 leaves the intervals out.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
) -> None:
    """Compute the metrics of any model's answers: JSON lines in, metrics.json out.

    Takes {"id", "subject_id", "gold", "prediction"}, one admission a line; a prediction of null is a missing one.
    Dots, lower case and surrounding space of codes do not count. What each number means is in the output.

    Example: deepicd metrics --train-counts counts.json < in.jsonl > metrics.json
    """
    from deepicd.evaluation import external  # numpy would slow every other command down
    from deepicd.evaluation.metrics import compute

    counts = None if train_counts is None else external.read_counts(train_counts)
    computed = compute(external.read(sys.stdin.buffer), train_counts=counts, bootstrap_samples=bootstrap, seed=seed)
    sys.stdout.write(json.dumps(computed, indent=2, allow_nan=False) + "\n")
