"""Results by chapter and by code, as tables to sort and search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepicd import icd10
from deepicd.evaluation.predictions import Prediction, valid_answers
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section:
    """Each chapter, and each gold code of the test set."""
    last = report.trained[-1]
    columns = [
        {"title": "Code", "kind": "text"},
        {"title": "Description", "kind": "text"},
        {"title": "Admissions", "kind": "count"},
        *({"title": f"F1 {model}", "kind": "percent"} for model in report.metrics),
        {"title": f"Found, {last}", "kind": "percent"},
        {"title": f"Right when named, {last}", "kind": "percent"},
    ]
    html = render("codes.html.j2", report=report, models=list(report.metrics), last=last, chapters=_chapters(report))
    return Section(
        "codes", "By chapter and code", "Codes", html, tables={"codes": {"columns": columns, "rows": rows(report), "sort": 2}}
    )


def rows(report: Report) -> list[list[Any]]:
    """A row for each gold code of the test set: code, description, admissions, F1 by model, recall and precision.

    The last two are of the last trained model. Shares in percent; None where a share is not defined.
    """
    counted = [_counts(records) for records in report.predictions.values()]
    gold = sorted({record.gold for record in next(iter(report.predictions.values()))})
    last = list(report.predictions).index(report.trained[-1])
    found = []
    for code in gold:
        by_model = [counts.get(code, (0, 0, 0)) for counts in counted]
        right, admissions, named = by_model[last]
        found.append(
            [
                icd10.display(code), icd10.description(code) if icd10.is_valid(code) else "", admissions,
                *(_share(2 * one[0], one[1] + one[2]) for one in by_model), _share(right, admissions), _share(right, named),
            ]
        )  # fmt: skip
    return found


def _counts(records: Sequence[Prediction]) -> dict[str, tuple[int, int, int]]:
    """By code: admissions answered rightly, admissions with it as gold, admissions for which it was named."""
    found: dict[str, list[int]] = {}
    for record, answer in zip(records, valid_answers(records), strict=True):
        found.setdefault(record.gold, [0, 0, 0])[1] += 1
        if answer is not None:
            found.setdefault(answer, [0, 0, 0])[2] += 1
            found[answer][0] += answer == record.gold
    return {code: (right, admissions, named) for code, (right, admissions, named) in found.items()}


def _share(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


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
