"""The report: the first screen, then the sections in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deepicd import atomic
from deepicd.evaluation.report import overview
from deepicd.evaluation.report.document import document
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section
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
    title, version = f"{report.run} · DeepICD report", report.versions.get("deepicd", "")
    return document(title, overview.overview(report), sections, version=version)
