"""The first screen: the runs, the verdict, the warnings, and the table of all models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from deepicd.evaluation import comparable
from deepicd.evaluation.report.compared.inputs import MEASURES, Compared
from deepicd.evaluation.report.compared.verdict import verdict
from deepicd.evaluation.report.overview import LEVEL_TITLES, facts
from deepicd.evaluation.report.section import render
from deepicd.evaluation.warnings import SYNTHETIC


def overview(compared: Compared) -> Markup:
    """The first screen's HTML."""
    about = {run.name: _facts(run.report) for run in compared.runs}
    return render(
        "compared_overview.html.j2",
        compared=compared,
        title=title(compared),
        about=about,
        columns=list(dict.fromkeys(title for own in about.values() for title in own)),
        verdict=verdict(compared),
        measure=MEASURES[compared.measure],
        warnings=list(warnings(compared)),
        synthetic=SYNTHETIC if any(run.report and run.report.is_synthetic for run in compared.runs) else None,
        level_titles=LEVEL_TITLES,
        bootstrap=compared.comparisons["bootstrap"],
    )


def title(compared: Compared) -> str:
    """The runs' names, or their number if there are many."""
    names = [run.name for run in compared.runs]
    return " and ".join(names) if len(names) < 3 else f"Comparison of {len(names)} runs"


def _facts(report: Any) -> dict[str, str]:
    return {} if report is None else {**facts(report), "Version": report.versions.get("deepicd", "")}


def warnings(compared: Compared) -> Iterator[str]:
    """One line for each reason why two runs may not be comparable."""
    known = {run.name: run.report for run in compared.runs if run.report is not None}
    for model, number in compared.dropped.items():
        if number:
            yield f"{number:,} admissions of {model} are left out, since another model did not answer them."
    versions = sorted({report.versions["deepicd"] for report in known.values() if "deepicd" in report.versions})
    if len(versions) > 1:
        yield (
            f"The runs were evaluated by different versions of DeepICD ({', '.join(versions)}), which may read answers "
            "differently."
        )
    for measure, reasons in compared.incomparable.items():
        yield f"{MEASURES[measure]}: {comparable.summary(reasons)}."
    unknown = [run.name for run in compared.runs if run.name not in known]
    if unknown:
        yield f"Settings of {', '.join(unknown)} are not known: only the predictions were found."
