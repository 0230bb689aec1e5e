"""Settings and versions in which the runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from deepicd.evaluation.report.compared.inputs import Compared
from deepicd.evaluation.report.section import Section, render

NONE = "–"
"""Shown for a setting that a run does not have."""


def section(compared: Compared) -> Section | None:
    """None with fewer than two runs whose settings are known."""
    known = {run.name: run.report for run in compared.runs if run.report is not None}
    if len(known) < 2:
        return None
    html = render(
        "compared_settings.html.j2",
        runs=list(known),
        settings=differing({name: dict(flat(report.spec, "spec")) for name, report in known.items()}),
        versions=differing({name: dict(report.versions) for name, report in known.items()}),
    )
    return Section("settings", "Settings that differ", "Settings", html)


def differing(by_run: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """What differs between the runs: by name, the value of each run in their order."""
    names = dict.fromkeys(name for own in by_run.values() for name in own)
    rows = {name: [own.get(name, NONE) for own in by_run.values()] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def flat(content: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """The fields of a run.yaml by their dotted names, each value as run.yaml writes it."""
    for name, value in content.items():
        here = f"{path}.{name}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, here)
        else:
            yield here, _shown(value)


def _shown(value: Any) -> str:
    quoted = '"' if isinstance(value, str) and "\n" in value else None
    text = yaml.safe_dump(value, default_flow_style=True, default_style=quoted, width=10_000, allow_unicode=True)
    return text.removesuffix("\n...\n").strip()
