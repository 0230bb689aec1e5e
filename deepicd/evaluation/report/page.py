"""The page: the first screen, then the sections in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from deepicd import atomic
from deepicd.evaluation.report import assets, overview
from deepicd.evaluation.report.charts import CONFIG
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render
from deepicd.evaluation.report.sections import (
    calibration,
    codes,
    cohort,
    confusion,
    definitions,
    difficulty,
    distillation,
    fairness,
    faults,
    frequency,
    levels,
    next_steps,
    reward,
    samples,
    settings,
    traces,
    training,
)

SECTIONS: tuple[Callable[[Report], Section | None], ...] = (
    cohort.section,
    distillation.section,
    difficulty.section,
    training.section,
    reward.section,
    levels.section,
    frequency.section,
    codes.section,
    confusion.section,
    samples.section,
    calibration.section,
    fairness.section,
    faults.section,
    traces.section,
    next_steps.section,
    settings.section,
    definitions.section,
)
"""Each returns None if the run has nothing for it."""


def write_report(report: Report, out: Path) -> None:
    """Write the page. The same report gives the same bytes.

    Raises:
        UserError: two models did not answer the same admissions.
        ValueError: `report` has no model.
    """
    atomic.write(out, html(report))


def html(report: Report) -> str:
    """The report as HTML; see `write_report`."""
    if not report.metrics:
        raise ValueError("a report needs the metrics of at least one model")
    sections = [found for make in SECTIONS if (found := make(report)) is not None]
    charts = {name: spec for section in sections for name, spec in section.charts.items()}
    tables = {name: table for section in sections for name, table in section.tables.items()}
    scripts = {"charts": assets.charts_script(), "own": assets.own_script()}
    page = render(
        "page.html.j2",
        report=report,
        overview=overview.overview(report),
        sections=sections,
        content=_json({"charts": charts, "config": CONFIG, "tables": tables}),
        script_sources=" ".join(assets.allowed(script) for script in scripts.values()),
        style=Markup(assets.style()),  # noqa: S704 - our own file
        tables_script=Markup(assets.tables_script()),  # noqa: S704 - a package's file
        **{f"{name}_script": Markup(script) for name, script in scripts.items()},  # noqa: S704 - packages' and our own files
    )
    return str(page)


def _json(content: Mapping[str, Any]) -> Markup:
    """JSON for a script element: no text in it can end the element."""
    return Markup(json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))  # noqa: S704 - escaped
