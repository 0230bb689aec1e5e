"""The end of a run's output."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from deepicd.cli import summary
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.report import Report


def answers(right: int) -> list[Prediction]:
    """Forty patients with a rotator cuff or heart failure; the first `right` are answered rightly and paid 1, the others 0."""
    golds = ["M75101", "I5033"] * 20
    return [
        Prediction(str(number), str(number), gold, gold if number < right else "K3580", reward=float(number < right))
        for number, gold in enumerate(golds)
    ]


def shown(samples: int = 200, **models: list[Prediction]) -> str:
    metrics = {name: compute(records, bootstrap_samples=samples) for name, records in models.items()}
    console = Console(file=io.StringIO(), width=120)
    summary.show(console, Report("r", metrics, models, [], {}, "", {}, ""), {"sft": 61.0}, Path("report.html"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_gain_over_the_start_has_its_interval() -> None:
    line = next(line for line in shown(base=answers(0), sft=answers(10), grpo=answers(30)).splitlines() if " - " in line)
    assert line.startswith("grpo - sft: reward +0.500 [+0.")
    assert "category macro F1 +45.7 [+" in line


def test_without_bootstrap_samples_the_gain_has_no_interval() -> None:
    assert "grpo - sft: reward +0.500, category macro F1 +45.7 (" in shown(0, sft=answers(10), grpo=answers(30))


def test_a_gain_that_nobody_scored_is_unknown() -> None:
    unscored = [Prediction("1", "1", "I10", "I10")]
    assert "grpo - sft: reward unknown, category macro F1 +0.0" in shown(sft=unscored, grpo=unscored)


@pytest.mark.parametrize("line", ["Time: sft 1m01s; 1m01s in all.", "Report: report.html"])
def test_one_model_has_no_gain(line: str) -> None:
    text = shown(base=answers(20))
    assert line in text
    assert " - " not in text
