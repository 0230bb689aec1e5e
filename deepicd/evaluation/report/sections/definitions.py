"""The definitions of all numbers."""

from __future__ import annotations

from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section:
    """The definitions of metrics.json."""
    last = report.last
    return Section("definitions", "Definitions", "Definitions", render("definitions.html.j2", last=last))
