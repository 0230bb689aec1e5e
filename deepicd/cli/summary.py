"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deepicd.cli.stage_view import show_seconds
from deepicd.data.left_out import LeftOut


def _percent(measure: Mapping[str, Any]) -> str:
    return "" if measure["value"] is None else f"{100 * measure['value']:.1f}"


def show(
    console: Console,
    warnings: Sequence[str],
    metrics: Mapping[str, Any],
    seconds: Mapping[str, float],
    report: Path,
    left_out: Sequence[LeftOut],
) -> None:
    """Print warnings, macro F1, rates and reward of each model, what was left out, the stages' times, the report's path."""
    console.print()
    for warning in warnings:
        console.print(Text(warning, style="bold yellow"))
    table = Table(box=None, padding=(0, 2, 0, 0), title="Test split (macro F1 and rates in %)", title_justify="left")
    without_judge = any(found["reward"].get("name") == "reward_without_judge" for found in metrics.values())
    reward_column = "REWARD WITHOUT JUDGE" if without_judge else "REWARD"
    for name in ("MODEL", "CHAPTER", "CATEGORY", "CODE", "FORMAT", "VALID", reward_column):
        table.add_column(name, justify="left" if name == "MODEL" else "right", no_wrap=True)
    for model, found in metrics.items():
        scores = [_percent(found["levels"][level]["macroF1"]) for level in found["levels"]]
        rates = [_percent(found["rates"]["format"]), _percent(found["rates"]["validCode"])]
        reward = found["reward"]["mean"]["value"]
        table.add_row(model, *scores, *rates, "" if reward is None else f"{reward:.3f}")
    if warnings:
        console.print()
    console.print(table)
    if left_out:
        console.print("\nLeft out:")
    for one in left_out:
        console.print(f"  {one}", markup=False, highlight=False)
    times = ", ".join(f"{stage} {show_seconds(spent)}" for stage, spent in seconds.items())
    console.print(f"\nTime: {times}; {show_seconds(sum(seconds.values()))} in all.")
    console.print(f"Report: {report}", soft_wrap=True)
    console.print("Research use only: not for diagnosis, decision support, triage, unsupervised coding or billing.")
