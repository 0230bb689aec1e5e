"""Results of all models at the three levels."""

from __future__ import annotations

from deepicd.evaluation.report import charts
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.overview import LEVEL_TITLES
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section:
    """Macro F1 as a chart, all averages as a table."""
    models = list(report.metrics)
    rows = [
        charts.bar(title, model, own["levels"][level]["macroF1"])
        for level, title in LEVEL_TITLES.items()
        for model, own in report.metrics.items()
    ]
    position = {
        "field": "group",
        "type": "nominal",
        "sort": list(LEVEL_TITLES.values()),
        "title": None,
        "axis": {"labelAngle": 0},
    }
    layers = charts.bar_layers(rows, "y", position, models, title="macro F1 (%)")
    chart = charts.chart(f"Macro F1 in percent by level. {charts.said(rows)}", 230, data=charts.values(rows), layer=layers)
    html = render("levels.html.j2", report=report, models=models, level_titles=LEVEL_TITLES)
    return Section("levels", "Results by level", "Levels", html, {"levels": chart})
