"""The definitions of the page's numbers."""

from __future__ import annotations

from deepicd.evaluation.metrics_schema import DEFINITIONS
from deepicd.evaluation.report.compared.inputs import Compared
from deepicd.evaluation.report.section import Section, render

_USED = ("level", "valid", "F1", "macroF1", "accuracy", "format", "validCode", "reward", "interval")


def section(compared: Compared) -> Section:
    """Those of metrics.json that the page uses, and those of comparisons.json."""
    shared = {name: DEFINITIONS[name] for name in _USED} | compared.comparisons["definitions"]
    html = render("definitions.html.j2", definitions=shared, bootstrap=compared.comparisons["bootstrap"])
    return Section("definitions", "Definitions", "Definitions", html)
