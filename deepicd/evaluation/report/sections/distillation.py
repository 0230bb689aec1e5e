"""The traces that a teacher wrote: which of its answers were rejected, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section | None:
    """The flow of the teacher's answers; None without the stage `distill`."""
    counts = report.distill
    if counts is None:
        return None
    rows = [
        {"count": count, "of": counts["answers"], "reason": rule, "by_choice": True}
        for rule, count in counts["rejected"].items()
    ]
    html = render("distillation.html.j2", counts=counts, rows=rows, teacher=teacher_of(counts) or "A model")
    return Section("distillation", "Traces from the teacher", "Distillation", html)


def teacher_of(counts: Mapping[str, Any]) -> str | None:
    """The teacher by its name, its model or its run; None if it is not recorded."""
    teacher = counts.get("teacher") or {}
    return next((str(teacher[key]) for key in ("name", "model", "run") if teacher.get(key)), None)
