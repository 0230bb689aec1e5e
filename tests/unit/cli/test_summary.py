"""The end of a run's output."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


def shown(
    samples: int = 200,
    warnings: Sequence[str] = (),
    left_out: Sequence[Mapping[str, Any]] | None = None,
    **models: list[Prediction],
) -> str:
    metrics = {name: compute(records, bootstrap_samples=samples) for name, records in models.items()}
    console = Console(file=io.StringIO(), width=120)
    report = Report("r", metrics, models, [], {}, "", {}, "", left_out=left_out)
    summary.show(console, report, warnings, {"sft": 61.0}, Path("report.html"))
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


def test_a_gain_that_rounds_to_0_has_no_minus() -> None:
    assert summary._signed({"value": -0.0002, "interval": [-0.0004, 0.001]}, 1, 3) == "+0.000 [+0.000, +0.001]"


@pytest.mark.parametrize("line", ["Time: sft 1m01s; 1m01s in all.", "Report: report.html"])
def test_one_model_has_no_gain(line: str) -> None:
    text = shown(base=answers(20))
    assert line in text
    assert " - " not in text


def test_warnings_are_the_first_lines() -> None:
    said = ["All scores are 0.", "[bold]Synthetic[/bold]"]
    assert shown(warnings=said, base=answers(0)).strip().splitlines()[:2] == said


def test_what_was_left_out_is_listed_with_its_reason() -> None:
    one = {"what": "traces", "count": 1200, "of": 3000, "reason": "empty"}
    lines = shown(left_out=[one], base=answers(0)).splitlines()
    assert lines[lines.index("Left out:") + 1].rstrip() == "  1,200 of 3,000 traces: empty"


def test_a_run_without_warnings_begins_with_its_scores() -> None:
    lines = shown(base=answers(0)).strip().splitlines()
    assert lines[0].rstrip() == "Test split (greedy answers: macro F1 and rates in %; sampled: reward)"
    assert lines[1].startswith("MODEL ")
    assert "Left out:" not in lines
