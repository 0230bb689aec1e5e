"""The definitions of all numbers."""

from __future__ import annotations

from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section:
    """The definitions of metrics.json."""
    last = report.last
    html = render("definitions.html.j2", definitions=last["definitions"], bootstrap=last["bootstrap"])
    return Section("definitions", "Definitions", "Definitions", html)
