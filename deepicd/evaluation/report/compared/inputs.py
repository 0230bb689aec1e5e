"""The data of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deepicd.evaluation.comparisons import Comparisons
from deepicd.evaluation.metrics_schema import Metrics
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.report.inputs import Report

MEASURES = {
    "chapter.macroF1": "Chapter macro F1", "category.macroF1": "Category macro F1", "code.macroF1": "Full-code macro F1",
    "chapter.accuracy": "Chapter accuracy", "category.accuracy": "Category accuracy", "code.accuracy": "Full-code accuracy",
    "format": "Form right", "validCode": "Valid code", "reward": "Reward",
}  # fmt: skip
"""Titles of what `comparisons.HEADLINES` names. All but the reward are shares."""


@dataclass(frozen=True, slots=True)
class Run:
    """One of the runs."""

    name: str
    report: Report | None
    """What the run recorded about itself; None if only its predictions are known."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The data of the page."""

    runs: Sequence[Run]
    predictions: Mapping[str, Sequence[Prediction]]
    """Of each model, for the admissions that all of them answered."""
    metrics: Mapping[str, Metrics]
    """Of the same models, on the same admissions."""
    comparisons: Comparisons
    dropped: Mapping[str, int]
    """Admissions of a model that another one did not answer."""
    measure: str
    """The measure that is shown first, one of `MEASURES`."""
    incomparable: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By measure, why two of the runs have no difference of it."""


def value_of(metrics: Metrics, measure: str) -> float | None:
    """A model's value for one of `MEASURES`."""
    level, _, name = measure.partition(".")
    if name:
        found: float | None = metrics["levels"][level][name]["value"]  # type: ignore[literal-required]
        return found
    if measure == "reward":
        return metrics["reward"]["mean"]["value"]
    return metrics["rates"][measure]["value"]  # type: ignore[literal-required,no-any-return]
