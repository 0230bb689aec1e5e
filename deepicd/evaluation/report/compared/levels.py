"""Macro F1 of all models at the three levels."""

from __future__ import annotations

from deepicd.evaluation.report import charts
from deepicd.evaluation.report.charts import Spec
from deepicd.evaluation.report.compared.inputs import Compared
from deepicd.evaluation.report.overview import LEVEL_TITLES
from deepicd.evaluation.report.section import Section, render


def section(compared: Compared) -> Section:
    """A chart for each level: one row a model, so that any number of models has room."""
    drawn = {f"level-{level}": _drawn(compared, level, title) for level, title in LEVEL_TITLES.items()}
    return Section("levels", "Results by level", "Levels", render("compared_levels.html.j2", level_titles=LEVEL_TITLES), drawn)


def _drawn(compared: Compared, level: str, title: str) -> Spec:
    found = [charts.bar(model, title, own["levels"][level]["macroF1"]) for model, own in compared.metrics.items()]
    x = {"type": "quantitative", "title": "macro F1 (%)", "axis": {"tickCount": 5}, "scale": {"zero": False, "nice": True}}
    y = {"field": "group", "type": "nominal", "sort": list(compared.metrics), "title": None, "axis": charts.NAMES}
    tooltip = [{"field": "group", "title": "model"}, {"field": "shown", "title": "macro F1 (%)"}]
    return charts.chart(
        f"{title}: macro F1 in percent. {charts.said(found)}",
        26 * len(found),
        data=charts.values(found),
        layer=[
            {"transform": [{"filter": "isValid(datum.low)"}],
             "mark": {"type": "rule", "strokeWidth": 1.5, "color": charts.ACCENT},
             "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}, "y": y, "tooltip": tooltip}},
            {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": charts.ACCENT},
             "encoding": {"x": {"field": "value", **x}, "y": y, "tooltip": tooltip}},
        ],
    )  # fmt: skip
