"""How often GRPO's start model solves the training prompts, and which of them were left out because of that."""

from __future__ import annotations

from deepicd.evaluation.report import charts
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section | None:
    """The histogram; None if difficulty decides nothing in the run."""
    found = report.difficulty
    if found is None:
        return None
    total = found["prompts"]
    reasons = {"droppedSolved": "solved too often", "droppedUnsolved": "solved too rarely"}
    rows = [
        {"count": found[key], "of": total, "reason": f"{reason} by the model that GRPO started from", "by_choice": True}
        for key, reason in reasons.items()
        if found[key]
    ]
    bars = [{"solved": number, "prompts": count} for number, count in enumerate(found["histogram"])]
    said = ", ".join(f"{row['solved']}: {row['prompts']}" for row in bars)
    drawn = charts.chart(
        f"Training prompts by the number of {found['samples']} completions that solve them. {said}",
        200,
        data=charts.values(bars),
        mark={"type": "bar", "color": charts.ACCENT, "cornerRadiusEnd": 2},
        encoding={
            "x": {
                "field": "solved", "type": "ordinal", "title": f"right completions of {found['samples']}",
                "axis": {"labelAngle": 0},
            },
            "y": {"field": "prompts", "type": "quantitative", "title": "training prompts"},
            "tooltip": [{"field": "solved", "title": "right ones"}, {"field": "prompts", "title": "prompts"}],
        },
    )  # fmt: skip
    html = render("difficulty.html.j2", found=found, rows=rows)
    return Section("difficulty", "Difficulty of the training prompts", "Difficulty", html, {"difficulty": drawn})
