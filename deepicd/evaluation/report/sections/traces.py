"""Why the report shows no traces, and how to see them."""

from __future__ import annotations

from deepicd.completion import TRACE_WARNING
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section:
    """The warning about traces."""
    html = render("traces.html.j2", model=report.trained[-1], warning=TRACE_WARNING)
    return Section("traces", "Reasoning traces", "Traces", html)
