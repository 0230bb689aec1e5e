"""Several answers for each admission: sampled, constrained to codes of the table, and with altered notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepicd.evaluation.report import charts
from deepicd.evaluation.report.charts import Spec
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.overview import LEVEL_TITLES
from deepicd.evaluation.report.section import Section, part, reason, render

CONDITIONS = {"half_note": "Second half of the note hidden", "wrong_first": "A wrong diagnosis stated before the note"}


def section(report: Report) -> Section | None:
    """Sampling, constrained answers and premature closure; None if the evaluation was asked for none of them."""
    names = ("sampling", "constrained", "prematureClosure")
    found = {name: {model: own for model, metrics in report.metrics.items() if (own := part(metrics, name))} for name in names}
    why = {name: text for name in names if not found[name] and (text := reason(report.metrics, name))}
    if not any(found.values()) and not why:
        return None
    drawn = {f"pass-{level}": _pass_at(found["sampling"], level) for level in ("category", "code")} if found["sampling"] else {}
    html = render(
        "samples.html.j2", found=found, why=why, level_titles=LEVEL_TITLES, conditions=CONDITIONS, drawn=("category", "code")
    )
    return Section("samples", "Several answers to an admission", "Samples", html, drawn)


def _pass_at(sampling: Mapping[str, Any], level: str) -> Spec:
    rows = [
        {"series": model, "k": int(k), "share": 100 * measure["value"]}
        for model, own in sampling.items()
        for k, measure in own["levels"][level]["passAt"].items()
        if measure["value"] is not None
    ]
    said = "; ".join(f"{row['series']}, {row['k']} samples: {row['share']:.0f}" for row in rows)
    return charts.chart(
        f"Share of admissions with a right answer among k samples, in percent. {said}",
        200,
        data=charts.values(rows),
        mark={"type": "line", "point": {"size": 40, "filled": True}},
        encoding={
            "x": {
                "field": "k", "type": "quantitative", "title": "samples", "scale": {"type": "log", "base": 2},
                "axis": {"values": sorted({row["k"] for row in rows}), "format": "d"},
            },
            "y": {"field": "share", "type": "quantitative", "title": "with a right answer (%)", "scale": {"zero": False}},
            "color": charts.colours(list(sampling), lines=True),
            "tooltip": [
                {"field": "series", "title": "model"}, {"field": "k", "title": "samples"},
                {"field": "share", "type": "quantitative", "format": ".1f"},
            ],
        },
    )  # fmt: skip
