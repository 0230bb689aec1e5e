"""Paired differences between the models of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepicd.evaluation.metrics import compare
from deepicd.evaluation.metrics_schema import Comparison, Measure
from deepicd.evaluation.report.inputs import Report

_NOTHING: Measure = {"value": None, "interval": None}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models, and the differences `second - first` by measure, such as `category.macroF1`."""

    first: str
    second: str
    measures: Mapping[str, Measure]
    p: Mapping[str, float | None]
    """p-values after Holm's correction, by measure; empty where they were not computed."""


def difference(report: Report, first: str, second: str) -> Comparison:
    """Paired difference of two models, `second - first`, on the samples of patients of the report's intervals."""
    bootstrap = report.metrics[first]["bootstrap"]
    return compare(
        report.predictions[first],
        report.predictions[second],
        bootstrap_samples=bootstrap["samples"],
        seed=bootstrap["seed"],
    )


def pairs(report: Report) -> list[Pair]:
    """The pairs to show: consecutive models of the run's training first, then its last model against each other one."""
    models, others = report.trained, [name for name in report.metrics if name not in report.trained]
    chosen = [(models[at], models[at + gap]) for gap in range(1, len(models)) for at in range(len(models) - gap)]
    return [pair_of(report, first, second) for first, second in (*chosen, *((name, models[-1]) for name in others))]


def last_pair(report: Report) -> Pair | None:
    """The last two models of the run's training; None with fewer."""
    return pair_of(report, *report.trained[-2:]) if len(report.trained) > 1 else None


def pair_of(report: Report, first: str, second: str) -> Pair:
    """The paired difference of two models, from the run's file or otherwise computed."""
    for one in (report.comparisons or {"pairs": ()})["pairs"]:
        if (one["first"], one["second"]) == (first, second):
            return _of_file(one, first, second, 1)
        if (one["first"], one["second"]) == (second, first):
            return _of_file(one, first, second, -1)
    return Pair(first, second, difference(report, first, second)["differences"], {})


def _of_file(one: Mapping[str, Any], first: str, second: str, sign: int) -> Pair:
    measures: dict[str, Measure] = dict.fromkeys(one.get("absent") or (), _NOTHING)
    for name, found in one["differences"].items():
        ends = found["interval"]
        measures[name] = {
            "value": sign * found["value"],
            "interval": None if ends is None else sorted(sign * end for end in ends),
        }
    return Pair(first, second, measures, {name: found["pHolm"] for name, found in one["differences"].items()})
