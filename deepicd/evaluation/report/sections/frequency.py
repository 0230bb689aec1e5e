"""Macro F1 of rare, medium and frequent classes."""

from __future__ import annotations

from deepicd.evaluation.frequency import Frequency
from deepicd.evaluation.report import charts
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.overview import LEVEL_TITLES
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section | None:
    """Macro F1 by frequency in the training set; None if that is unknown."""
    known = {
        model: own
        for model, own in report.metrics.items()
        if all(own["levels"][level]["byFrequency"] for level in LEVEL_TITLES)
    }
    if not known:
        return None
    models, levels = list(known), list(LEVEL_TITLES)
    drawn = {}
    for level in levels[1:]:
        rows = [
            charts.bar(group.value, model, measure)
            for group in Frequency
            for model, own in known.items()
            if (measure := (own["levels"][level]["byFrequency"] or {})[group.value]["macroF1"])["value"] is not None
        ]
        groups = [group.value for group in Frequency]
        position = {"field": "group", "type": "nominal", "sort": groups, "title": None, "axis": {"labelAngle": 0}}
        layers = charts.bar_layers(rows, "y", position, models, title="macro F1 (%)")
        description = f"{LEVEL_TITLES[level]}: macro F1 in percent by frequency in the training set. {charts.said(rows)}"
        drawn[f"frequency-{level}"] = charts.chart(description, 190, data=charts.values(rows), layer=layers)
    html = render(
        "frequency.html.j2",
        known=known,
        levels=LEVEL_TITLES,
        drawn=levels[1:],
        first=next(iter(known.values())),
    )
    return Section("frequency", "Rare and frequent codes", "Frequency", html, drawn)
