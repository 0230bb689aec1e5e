"""The reward: its terms with their definitions, on the validation split by step and on the test set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render
from deepicd.evaluation.report.sections.training import curve
from deepicd.rewards.definitions import definition
from deepicd.spec.reward import PRESETS


def section(report: Report) -> Section | None:
    """The reward's terms; None if nothing was scored and the run has no reward."""
    first = next(iter(report.metrics.values()))
    rows = [
        {"step": row["step"], **(row.get("terms") or {})}
        for row in report.curves
        if row["stage"] == "grpo" and row.get("terms")
    ]
    by_step = sorted({name for row in rows for name in row if name != "step"})
    names = list(dict.fromkeys([*first["reward"]["terms"], *by_step]))
    if not names:
        return None
    charts = {"terms": curve(rows, {name: name for name in by_step}, "Mean of each term", height=240)} if by_step else {}
    spec = report.spec.get("reward") or {}
    html = render(
        "reward.html.j2",
        report=report,
        first=first,
        terms=[{"name": name, "weight": _weight(spec, name), "definition": definition(spec, name)} for name in names],
        has_chart=bool(charts),
    )
    return Section("reward", "Reward", "Reward", html, charts)


def _weight(spec: Mapping[str, Any], term: str) -> float | None:
    """The term's weight in the run; None if its run.yaml does not say."""
    own = (spec.get("weights") or {}).get(term)
    preset = PRESETS.get(spec.get("preset", "deepicd"))
    return own if own is not None else preset.weights.get(term) if preset else None
