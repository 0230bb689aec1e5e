"""One HTML file from a first screen and sections; the report and the page of a comparison share this."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from deepicd.evaluation.report import assets
from deepicd.evaluation.report.charts import CONFIG
from deepicd.evaluation.report.section import Section, render


def document(title: str, first: Markup, sections: Sequence[Section], *, version: str) -> str:
    """The page: it loads nothing, and its policy allows exactly its own scripts.

    Args:
        title: of the window.
        first: the first screen, a header and a section `summary`.
        sections: in order; the navigation has their labels.
        version: of DeepICD.
    """
    charts = {name: spec for section in sections for name, spec in section.charts.items()}
    tables = {name: table for section in sections for name, table in section.tables.items()}
    scripts = {"charts": assets.charts_script(), "own": assets.own_script()}
    page = render(
        "page.html.j2",
        title=title,
        first=first,
        sections=sections,
        version=version,
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
