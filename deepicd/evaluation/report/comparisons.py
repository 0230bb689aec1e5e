"""Paired differences between the models of a report."""

from __future__ import annotations

from deepicd.evaluation.metrics import compare
from deepicd.evaluation.metrics_schema import Comparison
from deepicd.evaluation.report.inputs import Report


def difference(report: Report, first: str, second: str) -> Comparison:
    """Paired difference of two models, `second - first`, on the samples of patients of the report's intervals."""
    bootstrap = report.metrics[first]["bootstrap"]
    return compare(
        report.predictions[first],
        report.predictions[second],
        bootstrap_samples=bootstrap["samples"],
        seed=bootstrap["seed"],
    )


def differences(report: Report) -> list[tuple[str, str, Comparison]]:
    """Every pair of models, later minus earlier. Pairs of consecutive models come first."""
    models = list(report.metrics)
    pairs = [(models[at], models[at + gap]) for gap in range(1, len(models)) for at in range(len(models) - gap)]
    return [(first, second, difference(report, first, second)) for first, second in pairs]
