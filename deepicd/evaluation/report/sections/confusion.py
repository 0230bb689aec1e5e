"""Confusion between chapters, for each model."""

from __future__ import annotations

import numpy as np

from deepicd.evaluation.confusion import SHORT_TITLES, Confusion, by_chapter
from deepicd.evaluation.report import charts
from deepicd.evaluation.report.charts import Spec
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section:
    """A heat map, with a choice of the model."""
    counted = {model: by_chapter(records) for model, records in report.predictions.items()}
    html = render("confusion.html.j2", several=len(counted) > 1)
    return Section(
        "confusion", "Confusion between chapters", "Confusion", html, {"confusion": _heat_map(counted, report.trained[-1])}
    )


def _heat_map(counted: dict[str, Confusion], last: str) -> Spec:
    """Shares of each gold chapter's admissions by predicted chapter; each row sums to 100 %."""
    rows, said = [], []
    for model, found in counted.items():
        totals = found.admissions.sum(axis=1)
        names = [*(f"{chapter}" for chapter in found.predicted), "none"]
        for (row, column), count in np.ndenumerate(found.admissions):
            if count:
                share = 100 * int(count) / int(totals[row])
                rows.append(
                    {
                        "model": model, "gold": _title(found.gold[row], int(totals[row])), "predicted": names[column],
                        "share": share, "count": int(count), "named": _named(found, column),
                    }
                )  # fmt: skip
        if model == last:
            right = [int(found.admissions[row, found.predicted.index(chapter)]) for row, chapter in enumerate(found.gold)]
            said = [
                f"{SHORT_TITLES[chapter]} {100 * count / int(total):.0f}"
                for chapter, count, total in zip(found.gold, right, totals, strict=True)
            ]
    predicted = sorted({chapter for found in counted.values() for chapter in found.predicted})
    gold = counted[last]
    golds = [_title(chapter, int(total)) for chapter, total in zip(gold.gold, gold.admissions.sum(axis=1), strict=True)]
    bare = {"domain": False, "ticks": False}
    columns = [*map(str, predicted), "none"]
    position = {
        "x": {
            "field": "predicted", "type": "nominal", "sort": columns, "title": "predicted chapter",
            "axis": {"labelAngle": 0, "orient": "top", **bare},
        },
        "y": {"field": "gold", "type": "nominal", "sort": golds, "title": None, "axis": bare},
    }  # fmt: skip
    opacity = {"domain": [0, 100], "range": [0.06, 1]}
    select: Spec = {"name": "shown", "value": last}
    if len(counted) > 1:
        select["bind"] = {"input": "radio", "options": list(counted), "name": "Model"}
    return charts.chart(
        f"Percent of the admissions of each gold chapter for which {last} answered that chapter: {', '.join(said)}",
        26 * len(golds),
        params=[select],
        data=charts.values(rows),
        transform=[{"filter": "datum.model == shown"}],
        encoding=position,
        layer=[
            {
                "mark": {"type": "rect", "color": charts.ACCENT, "cornerRadius": 2},
                "encoding": {
                    "opacity": {"field": "share", "type": "quantitative", "scale": opacity, "legend": None},
                    "tooltip": [
                        {"field": "gold", "title": "gold"}, {"field": "named", "title": "predicted"},
                        {"field": "count", "title": "admissions"}, {"field": "share", "title": "share (%)", "format": ".1f"},
                    ],
                },
            },
            {
                "transform": [{"filter": "datum.share >= 0.5"}],
                "mark": {"type": "text", "fontSize": 10},
                "encoding": {
                    "text": {"field": "share", "type": "quantitative", "format": ".0f"},
                    "color": {"condition": {"test": "datum.share > 55", "value": "var(--on-accent)"}, "value": charts.INK},
                },
            },
        ],
    )  # fmt: skip


def _title(chapter: int, admissions: int) -> str:
    return f"{chapter} {SHORT_TITLES[chapter]} ({admissions:,})"


def _named(found: Confusion, column: int) -> str:
    if column == len(found.predicted):
        return "no valid prediction"
    return f"{found.predicted[column]} {SHORT_TITLES[found.predicted[column]]}"
