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
from deepicd.evaluation.metrics_schema import Measure
from deepicd.evaluation.report import Report, difference


def _percent(measure: Mapping[str, Any]) -> str:
    return "" if measure["value"] is None else f"{100 * measure['value']:.1f}"


def show(console: Console, found: Report, warnings: Sequence[str], seconds: Mapping[str, float], page: Path) -> None:
    """Print warnings, macro F1, rates and reward of each model, the last one's gain, what was left out, the stages' times and
    the page's path.
    """
    console.print()
    for warning in warnings:
        console.print(Text(warning, style="bold yellow"))
    table = Table(box=None, padding=(0, 2, 0, 0))
    without_judge = any(own["reward"].get("name") == "reward_without_judge" for own in found.metrics.values())
    reward_column = "REWARD WITHOUT JUDGE" if without_judge else "REWARD"
    table.add_column("MODEL", overflow="fold")  # the only one that may be narrower than its content: no number is cut
    for name in ("CHAPTER", "CATEGORY", "CODE", "FORMAT", "VALID", reward_column):
        table.add_column(name, justify="right", no_wrap=True)
    for model, own in found.metrics.items():
        scores = [_percent(level["macroF1"]) for level in own["levels"].values()]
        rates = [_percent(own["rates"]["format"]), _percent(own["rates"]["validCode"])]
        reward = own["reward"]["mean"]["value"]
        table.add_row(model, *scores, *rates, "" if reward is None else f"{reward:.3f}")
    if warnings:
        console.print()
    console.print("Test split (greedy answers: macro F1 and rates in %; sampled: reward)", highlight=False)
    console.print(table)
    if len(found.metrics) > 1:
        console.print(f"\n{gain(found)}", soft_wrap=True)
    if found.left_out:
        console.print("\nLeft out:")
    for one in found.left_out or ():
        console.print(f"  {LeftOut(**one)}", markup=False, highlight=False)
    times = ", ".join(f"{stage} {show_seconds(spent)}" for stage, spent in seconds.items())
    console.print(f"\nTime: {times}; {show_seconds(sum(seconds.values()))} in all.")
    console.print(f"Report: {page}", soft_wrap=True)
    console.print("Research use only: not for diagnosis, decision support, triage, unsupervised coding or billing.")


def gain(found: Report) -> str:
    """The last model's reward and category macro F1 minus those of the model that it started from, with intervals."""
    first, second = list(found.metrics)[-2:]
    differences = difference(found, first, second)["differences"]
    parts = [
        f"reward {_signed(differences['reward'], 1, 3)}",
        f"category macro F1 {_signed(differences['category.macroF1'], 100, 1)}",
    ]
    return f"{second} - {first}: {', '.join(parts)} (95 % intervals, paired by patient)"


def _signed(measure: Measure, scale: float, digits: int) -> str:
    if measure["value"] is None:
        return "unknown"
    # Adding 0 makes -0.0 to 0.0, so that nothing is shown as -0.000.
    shown = [f"{round(scale * number, digits) + 0:+.{digits}f}" for number in (measure["value"], *(measure["interval"] or ()))]
    return f"{shown[0]} [{', '.join(shown[1:])}]" if shown[1:] else shown[0]
