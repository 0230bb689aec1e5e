"""Results by chapter and by code, as tables that can be sorted and searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepicd import icd10
from deepicd.evaluation import classes
from deepicd.evaluation.levels import Level
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section:
    """Each chapter, and each gold code of the test set."""
    last = report.trained[-1]
    columns = [
        {"title": "Code", "kind": "text"},
        {"title": "Description", "kind": "text"},
        {"title": "In training", "kind": "count"},
        {"title": "In test", "kind": "count"},
        *({"title": f"F1 {model}", "kind": "percent"} for model in report.metrics),
        {"title": f"Recall {last}", "kind": "percent"},
        {"title": f"Precision {last}", "kind": "percent"},
    ]
    html = render("codes.html.j2", report=report, models=list(report.metrics), last=last, chapters=_chapters(report))
    return Section(
        "codes", "By chapter and code", "Codes", html, tables={"codes": {"columns": columns, "rows": rows(report), "sort": 3}}
    )


def rows(report: Report) -> list[list[Any]]:
    """A row for each gold code of the test set: code, description, admissions of training and test set, F1 by model, recall
    and precision of the last trained model.

    Shares in percent; None where a share is not defined, or the training set is not known.
    """
    by_code: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in report.classes if report.classes is not None else classes.rows(report.predictions):
        if row["level"] == Level.CODE and row["support"]:
            by_code.setdefault(row["class"], {})[row["model"]] = row
    found = []
    for code, own in sorted(by_code.items()):
        last = own[report.trained[-1]]
        shares = [*(own[model]["f1"] for model in report.metrics), last["recall"], last["precision"]]
        found.append([icd10.display(code), last["title"] or "", last["training"], last["support"], *map(_percent, shares)])
    return found


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


def _chapters(report: Report) -> list[dict[str, Any]]:
    """Rows of the table by chapter, with the metrics of every model."""
    own = [{row["chapter"]: row for row in model["byChapter"]} for model in report.metrics.values()]
    last = own[list(report.metrics).index(report.trained[-1])]
    return [
        {
            "chapter": chapter,
            "title": row["title"],
            "admissions": row["admissions"],
            "models": [chapters[chapter] for chapters in own],
            "last": row,
        }
        for chapter, row in last.items()
    ]
