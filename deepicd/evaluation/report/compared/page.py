"""The page: the first screen, then the sections in order."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from deepicd import atomic
from deepicd.evaluation.report.compared import codes, curves, definitions, differences, levels, overview, settings
from deepicd.evaluation.report.compared.inputs import Compared
from deepicd.evaluation.report.document import document
from deepicd.evaluation.report.section import Section

SECTIONS: tuple[Callable[[Compared], Section | None], ...] = (
    differences.section,
    levels.section,
    curves.section,
    codes.section,
    settings.section,
    definitions.section,
)
"""Each returns None if there is nothing for it."""


def write_page(compared: Compared, out: Path) -> None:
    """Write the page. The same comparison gives the same bytes."""
    atomic.write(out, html(compared))


def html(compared: Compared) -> str:
    """The page as HTML; it contains no note text."""
    sections = [found for make in SECTIONS if (found := make(compared)) is not None]
    return document("DeepICD comparison", overview.overview(compared), sections, version=version("deepicd"))
