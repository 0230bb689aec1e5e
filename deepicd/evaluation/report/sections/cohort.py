"""The flow of the cohort: what was dropped and why, the splits, and notes shortened to their budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepicd.data.shorten import ORDER, WHOLE
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render


def section(report: Report) -> Section:
    """Cohort flow."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in report.left_out or ():
        groups.setdefault(one["what"], []).append(one)
    html = render(
        "cohort.html.j2",
        report=report,
        groups={what: {"of": rows[0]["of"], "rows": rows, "kept": _kept(rows)} for what, rows in groups.items()},
        shortened_sections=_shortened_sections(report.prompts),
    )
    return Section("cohort", "Cohort", "Cohort", html)


def _kept(rows: list[Mapping[str, Any]]) -> int:
    """How many items of these rows remain."""
    return max(0, int(rows[0]["of"]) - sum(int(one["count"]) for one in rows))


def _shortened_sections(prompts: Mapping[str, Any] | None) -> list[str]:
    """Names of the sections that were shortened in any split, in the order of shortening."""
    order = [*(kind.value for kind in ORDER), WHOLE]
    found = {name for split in (prompts or {"splits": {}})["splits"].values() for name in split["sections"]}
    return sorted(found, key=order.index)
