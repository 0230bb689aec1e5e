"""What a section of the report consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from deepicd.evaluation import formatting


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


def render(template: str, **content: Any) -> Markup:
    """Fill a template of `templates`."""
    return Markup(_environment().get_template(template).render(**content))  # noqa: S704 - the template escapes


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["f"] = formatting
    return environment
