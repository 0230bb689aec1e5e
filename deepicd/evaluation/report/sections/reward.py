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
    names = terms(report)
    if not names:
        return None
    rows, by_step = _by_step(report)
    charts = {"terms": curve(rows, {name: name for name in by_step}, "Mean of each term", height=240)} if by_step else {}
    html = render(
        "reward.html.j2",
        report=report,
        last=report.last,
        terms=names,
        has_chart=bool(charts),
    )
    return Section("reward", "Reward", "Reward", html, charts)


def terms(report: Report) -> list[dict[str, Any]]:
    """Name, weight (None if it is not known) and definition of each term that was scored."""
    spec = report.spec.get("reward") or {}
    scored = report.last["reward"]["terms"]
    names = dict.fromkeys([*scored, *_by_step(report)[1]])
    return [{"name": name, "weight": _weight(spec, name), "definition": definition(spec, name)} for name in names]


def _by_step(report: Report) -> tuple[list[dict[str, Any]], list[str]]:
    """The terms' means by step of GRPO, as rows, and the names of the terms."""
    grpo = [row for row in report.curves if row["stage"] == "grpo" and row.get("terms")]
    return [{"step": row["step"], **row["terms"]} for row in grpo], sorted({name for row in grpo for name in row["terms"]})


def _weight(spec: Mapping[str, Any], term: str) -> float | None:
    """The term's weight in the run; None if its run.yaml does not say."""
    own = (spec.get("weights") or {}).get(term)
    preset = PRESETS.get(spec.get("preset", "deepicd"))
    return own if own is not None else preset.weights.get(term) if preset else None
