from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from deepicd.cli import summary
from deepicd.data.left_out import LeftOut
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction


def shown(warnings: list[str], left_out: list[LeftOut]) -> list[str]:
    metrics = {"base": compute([Prediction("1", "1", "I10", "I10")], bootstrap_samples=0)}
    out = io.StringIO()
    console = Console(file=out, width=80)
    summary.show(console, warnings, metrics, {"prepare": 5.0}, Path("report.html"), left_out)
    return out.getvalue().strip().splitlines()


def test_warnings_are_the_first_lines() -> None:
    assert shown(["All scores are 0.", "[bold]Synthetic[/bold]"], [])[:2] == ["All scores are 0.", "[bold]Synthetic[/bold]"]


def test_what_was_left_out_is_listed_with_its_reason() -> None:
    lines = shown([], [LeftOut("traces", 1200, 3000, "empty")])
    assert lines[lines.index("Left out:") + 1] == "  1,200 of 3,000 traces: empty"


def test_a_run_without_warnings_begins_with_its_scores() -> None:
    lines = shown([], [])
    assert lines[0].startswith("Test split")
    assert "Left out:" not in lines
