"""Comparisons to test with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deepicd.evaluation.comparisons import compare_all
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.report.compared import Compared, Run
from deepicd.spec.load import dump, parse
from tests.unit.evaluation.report.reports import answers, made_report
from tests.unit.spec.test_load import quickstart


def of(models: Mapping[str, Sequence[Prediction]], runs: Sequence[Run] = (), *, samples: int = 50, **changed: Any) -> Compared:
    """A comparison of these answers."""
    found = Compared(
        runs=runs,
        predictions=models,
        metrics={name: compute(records, bootstrap_samples=samples) for name, records in models.items()},
        comparisons=compare_all(models, bootstrap_samples=samples),
        dropped=dict.fromkeys(models, 0),
        measure="category.macroF1",
    )
    return replace(found, **changed)


def run(name: str, seed: int, **changed: Any) -> Run:
    """A run that differs from another one in its seed."""
    content = quickstart()
    content["spec"]["seed"] = seed
    report = replace(made_report(), run=name, settings=dump(parse(content, "run.yaml")), versions={"deepicd": "0.2.0"})
    return Run(name, replace(report, **changed))


def two_runs() -> Compared:
    """Two models of each of two runs, one of which has a dot and a bracket in its name."""
    models = {
        "seed-0/sft": answers(0.3, 1), "seed-0/grpo": answers(0.8, 2),
        "v1.2[a]/sft": answers(0.3, 3), "v1.2[a]/grpo": answers(0.9, 4),
    }  # fmt: skip
    return of(models, [run("seed-0", 0), run("v1.2[a]", 1)])
