"""Training curves of all runs, in one chart for each number."""

from __future__ import annotations

from typing import Any

from deepicd.evaluation import comparable
from deepicd.evaluation.report.compared.inputs import Compared
from deepicd.evaluation.report.section import Section, render
from deepicd.evaluation.report.sections.training import curve, title_of
from deepicd.rewards.judge.judging import REWARD

_DRAWN = (("grpo", "validationReward"), ("grpo", "reward"), ("grpo", "responseTokens"), ("sft", "loss"))
_REWARDS = {"validationReward", "reward"}
_TITLES = {"validationReward": "Validation reward"}


def section(compared: Compared) -> Section | None:
    """Reward, response length and loss by step; no rewards of different kinds; None if no run has such numbers."""
    drawn, titles = {}, {}
    reasons = compared.incomparable.get(REWARD, ())
    for stage, key in _DRAWN:
        if key in _REWARDS and reasons:
            continue
        by_run = {
            run.name: rows
            for run in compared.runs
            if run.report is not None and (rows := _rows(run.report.curves, stage, key, run.name))
        }
        if by_run:
            name, title = f"{stage}-{key}", f"{stage.upper()}: {(_TITLES.get(key) or title_of(key)).lower()}"
            drawn[name] = curve([row for rows in by_run.values() for row in rows], {run: run for run in by_run}, title)
            titles[name] = title
    if not drawn:
        return None
    left_out = comparable.summary(reasons) if reasons else ""
    html = render("compared_curves.html.j2", titles=titles, left_out=left_out)
    return Section("training", "Training", "Training", html, drawn)


def _rows(curves: Any, stage: str, key: str, name: str) -> list[dict[str, Any]]:
    """The steps of a stage that have this number, under the name of their run."""
    return [{"step": row["step"], name: row[key]} for row in curves if row["stage"] == stage and row.get(key) is not None]
