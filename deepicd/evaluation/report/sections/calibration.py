"""Calibration: whether confidence says how often an answer is right, and what abstaining would gain."""

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
    """Reliability and risk by coverage; None if the evaluation was not asked for calibration."""
    found = {model: own for model, metrics in report.metrics.items() if (own := part(metrics, "calibration"))}
    why = reason(report.metrics, "calibration")
    if not found and not why:
        return None
    drawn = {"reliability": _reliability(found), "risk": _risk(found)} if found else {}
    confidence: dict[str, list[str]] = {}
    for model, own in found.items():
        confidence.setdefault(own["confidence"], []).append(model)
    html = render(
        "calibration.html.j2", found=found, why=why, level_titles=LEVEL_TITLES, drawn=LEVEL_TITLES[_DRAWN].lower(),
        confidence=confidence,
    )  # fmt: skip
    return Section("calibration", "Calibration and abstention", "Calibration", html, drawn)


def _reliability(found: Mapping[str, Any]) -> Spec:
    rows = [
        {
            "series": model, "confidence": 100 * one["confidence"], "accuracy": 100 * one["accuracy"]["value"],
            "admissions": one["admissions"], **_ends(one["accuracy"]),
        }
        for model, own in found.items()
        for one in own["levels"][_DRAWN]["bins"]
    ]  # fmt: skip
    said = "; ".join(
        f"{row['series']}, confidence {row['confidence']:.0f}: {row['accuracy']:.0f} right of {row['admissions']}"
        for row in rows
    )
    x = {"field": "confidence", "type": "quantitative", "title": "confidence (%)", "scale": {"domain": [0, 100]}}
    y = {"type": "quantitative", "title": "right (%)", "scale": {"domain": [0, 100]}}
    colour = charts.colours(list(found), lines=True)
    tooltip = [{"field": name, "type": "quantitative", "format": ".1f"} for name in ("confidence", "accuracy")]
    tooltip = [{"field": "series", "title": "model"}, *tooltip, {"field": "admissions"}]
    perfect = {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 100, "accuracy": 100}]}
    return charts.chart(
        f"Share of right answers by confidence, in percent. {said}",
        230,
        layer=[
            {"data": perfect, "mark": {"type": "line", "color": charts.MUTED, "strokeDash": [4, 4]},
             "encoding": {"x": x, "y": {"field": "accuracy", **y}}},
            {"data": charts.values(row for row in rows if "low" in row), "mark": {"type": "rule", "opacity": 0.6},
             "encoding": {"x": x, "y": {"field": "low", **y}, "y2": {"field": "high"}, "color": colour}},
            {"data": charts.values(rows), "mark": {"type": "line", "point": {"size": 40, "filled": True}},
             "encoding": {"x": x, "y": {"field": "accuracy", **y}, "color": colour, "tooltip": tooltip}},
        ],
    )  # fmt: skip


def _risk(found: Mapping[str, Any]) -> Spec:
    rows = [
        {"series": model, "coverage": 100 * one["coverage"], "risk": 100 * one["risk"], "confidence": 100 * one["confidence"]}
        for model, own in found.items()
        for one in own["levels"][_DRAWN]["riskCoverage"]
    ]
    said = "; ".join(
        f"{row['series']}, {row['coverage']:.0f} answered: {row['risk']:.0f} wrong" for row in rows[:: max(len(rows) // 12, 1)]
    )
    titles = {"coverage": "answered (%)", "risk": "wrong (%)", "confidence": "least confidence (%)"}
    tooltip = [{"field": name, "type": "quantitative", "title": title, "format": ".1f"} for name, title in titles.items()]
    return charts.chart(
        f"Wrong answers by the share of admissions answered, in percent. {said}",
        230,
        data=charts.values(rows),
        mark={"type": "line", "interpolate": "step-before", "point": {"size": 20, "filled": True}},
        encoding={
            "x": {"field": "coverage", "type": "quantitative", "title": titles["coverage"], "scale": {"domain": [0, 100]}},
            "y": {"field": "risk", "type": "quantitative", "title": titles["risk"], "scale": {"zero": True}},
            "color": charts.colours(list(found), lines=True),
            "tooltip": [{"field": "series", "title": "model"}, *tooltip],
        },
    )


def _ends(measure: Mapping[str, Any]) -> dict[str, float]:
    ends = measure["interval"]
    return {} if ends is None else {"low": 100 * ends[0], "high": 100 * ends[1]}
