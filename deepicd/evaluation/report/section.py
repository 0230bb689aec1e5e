"""The parts of a section of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from deepicd.evaluation import formatting
from deepicd.evaluation.metrics_schema import Metrics

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page. Charts and tables are drawn into elements that its HTML names."""

    id: str
    title: str
    """Its heading."""
    label: str
    """Its name in the navigation, a word or two."""
    html: Markup
    charts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Vega-Lite specifications, by the name of the element `data-chart`."""
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`columns` and `rows` of long tables, by the name of the element `data-table`: see `report.js`."""


def part(metrics: Metrics, name: str) -> Any:
    """A part of a model's metrics that an evaluation may lack; None without it."""
    return dict(metrics).get(name)


def reason(metrics: Mapping[str, Metrics], name: str) -> str:
    """Why no model has a part of the metrics; empty if the evaluation was not asked for it, so no reason is recorded."""
    found = (str((part(own, "absent") or {}).get(name, "")) for own in metrics.values())
    return next(filter(None, found), "")


def render(template: str, **content: Any) -> Markup:
    """Fill a template of `templates`."""
    return Markup(_environment(_TEMPLATES, escapes=True).get_template(template).render(**content))  # noqa: S704 - the template escapes


def render_text(folder: Path, template: str, **content: Any) -> str:
    """Fill a template of plain text."""
    return _environment(folder, escapes=False).get_template(template).render(**content)


@cache
def _environment(folder: Path, *, escapes: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=escapes,  # noqa: S701 - the cards are Markdown
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=not escapes,
        lstrip_blocks=True,
    )
    environment.globals["f"] = formatting
    return environment
