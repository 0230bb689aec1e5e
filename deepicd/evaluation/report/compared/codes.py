"""F1 of each code by model, as a table that can be sorted and searched."""

from __future__ import annotations

from typing import Any

from deepicd import icd10
from deepicd.evaluation import classes
from deepicd.evaluation.levels import Level
from deepicd.evaluation.report.compared.inputs import Compared
from deepicd.evaluation.report.section import Section, render


def section(compared: Compared) -> Section:
    """Each gold code of the common admissions."""
    columns = [
        {"title": "Code", "kind": "text"},
        {"title": "Description", "kind": "text"},
        {"title": "Admissions", "kind": "count"},
        *({"title": f"F1 {model}", "kind": "percent"} for model in compared.metrics),
    ]
    table = {"columns": columns, "rows": rows(compared), "sort": 2}
    return Section("codes", "By code", "Codes", render("compared_codes.html.j2"), tables={"codes": table})


def rows(compared: Compared) -> list[list[Any]]:
    """A row for each gold code: code, description, admissions, F1 of each model in percent."""
    f1: dict[str, dict[str, float]] = {}
    support: dict[str, int] = {}
    for row in classes.rows(compared.predictions):
        if row["level"] == Level.CODE and row["support"]:
            f1.setdefault(row["class"], {})[row["model"]] = round(100 * row["f1"], 1)
            support[row["class"]] = row["support"]
    return [
        [
            icd10.display(code),
            icd10.description(code) if icd10.is_valid(code) else "",
            support[code],
            *(own[model] for model in compared.metrics),
        ]
        for code, own in sorted(f1.items())
    ]
