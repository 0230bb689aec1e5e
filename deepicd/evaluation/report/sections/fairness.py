"""Fairness: accuracy of groups of patients against the largest group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepicd.evaluation.report import charts
from deepicd.evaluation.report.charts import Spec
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.overview import LEVEL_TITLES
from deepicd.evaluation.report.section import Section, part, reason, render

_DRAWN = "category"
"""The level in the chart; the table has all levels."""


def section(report: Report) -> Section | None:
    """Gaps of the last trained model; None if the evaluation was not asked for fairness."""
    model = report.trained[-1]
    found = part(report.metrics[model], "fairness") or {}
    absent = part(report.metrics[model], "absent") or {}
    why = {name.partition(".")[2]: text for name, text in absent.items() if name.startswith("fairness.")}
    whole = reason(report.metrics, "fairness")
    if not found and not why and not whole:
        return None
    gaps = [
        {
            "attribute": attribute,
            "group": f"{attribute}: {one['group']}",
            **_percents(one["gap"][_DRAWN]),
            "patients": one["patients"],
        }
        for attribute, own in found.items()
        for one in own["groups"]
        if "gap" in one and one["gap"][_DRAWN]["value"] is not None
    ]
    html = render(
        "fairness.html.j2", model=model, found=found, why=why, whole=whole, level_titles=LEVEL_TITLES, has_chart=bool(gaps),
        drawn=LEVEL_TITLES[_DRAWN].lower(),
    )  # fmt: skip
    return Section("fairness", "Fairness", "Fairness", html, {"fairness": _drawn(gaps)} if gaps else {})


def _drawn(gaps: list[dict[str, Any]]) -> Spec:
    said = "; ".join(f"{row['group']}: {row['value']:+.1f}" for row in gaps)
    x = {"type": "quantitative", "title": "accuracy minus that of the largest group (points)", "axis": {"tickCount": 8}}
    y = {"field": "group", "type": "nominal", "sort": [row["group"] for row in gaps], "title": None}
    tooltip = [
        {"field": "group"}, {"field": "value", "type": "quantitative", "title": "gap (points)", "format": "+.1f"},
        {"field": "p", "title": "p after Holm"}, {"field": "patients"},
    ]  # fmt: skip
    return charts.chart(
        f"Gap in accuracy to the largest group, in percentage points. {said}",
        24 * len(gaps),
        data=charts.values(gaps),
        layer=charts.difference_layers(x, y, tooltip, real="var(--warn)"),
    )  # fmt: skip


def _percents(gap: Mapping[str, Any]) -> dict[str, Any]:
    low, high = gap["interval"] or (gap["value"], gap["value"])
    p = gap.get("pHolm")
    return {
        "value": 100 * gap["value"], "low": 100 * low, "high": 100 * high, "real": bool(gap.get("significant")),
        "p": "–" if p is None else f"{p:.3f}",
    }  # fmt: skip
