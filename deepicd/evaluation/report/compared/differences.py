"""Paired differences of all models, as a chart with a choice of model and measure, and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deepicd.evaluation.formatting import MOST_BY_CHANCE
from deepicd.evaluation.metrics_schema import Measure
from deepicd.evaluation.report import charts
from deepicd.evaluation.report.charts import Spec
from deepicd.evaluation.report.compared.inputs import MEASURES, Compared
from deepicd.evaluation.report.section import Section, render

_TABLES = {
    "Macro F1, form and reward": ("chapter.macroF1", "category.macroF1", "code.macroF1", "format", "validCode", "reward"),
    "Accuracy": ("chapter.accuracy", "category.accuracy", "code.accuracy"),
}
_MOST_SHOWN = 10
"""Up to this many pairs, all are shown; with more, only those with the first model."""
_NOTHING: Measure = {"value": None, "interval": None}


def section(compared: Compared) -> Section | None:
    """Differences between all pairs of models; None with one model."""
    pairs = compared.comparisons["pairs"]
    if not pairs:
        return None
    first = next(iter(compared.metrics))
    groups: dict[str, list[Any]] = {}
    for pair in pairs:
        groups.setdefault(pair["first"], []).append(pair)
    html = render(
        "compared_differences.html.j2",
        shown=groups if len(pairs) <= _MOST_SHOWN else {first: groups.pop(first)},
        folded={} if len(pairs) <= _MOST_SHOWN else groups,
        tables=_TABLES,
        titles=MEASURES,
        nothing=_NOTHING,
        level=MOST_BY_CHANCE,
        compared=compared,
        against=first,
        measure=MEASURES[compared.measure],
    )
    return Section("differences", "Differences", "Differences", html, {"differences": _drawn(compared, first)})


def rows(compared: Compared) -> Iterator[dict[str, Any]]:
    """A row for each model, each model to compare it with, and each measure that both have: shares in points."""
    for pair in compared.comparisons["pairs"]:
        for measure, found in pair["differences"].items():
            scale = 1 if measure == "reward" else 100
            for sign, model, against in ((1, pair["second"], pair["first"]), (-1, pair["first"], pair["second"])):
                low, high = sorted(sign * end for end in found["interval"] or (found["value"], found["value"]))
                yield {
                    "against": against, "model": model, "measure": MEASURES[measure], "value": sign * scale * found["value"],
                    "low": scale * low, "high": scale * high, "real": bool(found["significant"]),
                    "p": "–" if found["pHolm"] is None else f"{found['pHolm']:.3f}",
                }  # fmt: skip


def _drawn(compared: Compared, first: str) -> Spec:
    models, found = list(compared.metrics), list(rows(compared))
    chosen = MEASURES[compared.measure]
    said = "; ".join(
        f"{row['model']}: {row['value']:+.3g}" for row in found if row["against"] == first and row["measure"] == chosen
    )
    x = {"type": "quantitative", "title": "difference (points)", "axis": {"tickCount": 8}}
    y = {"field": "model", "type": "nominal", "sort": models, "title": None, "axis": charts.NAMES}
    tooltip = [
        {"field": "model"}, {"field": "against"}, {"field": "measure"},
        {"field": "value", "type": "quantitative", "title": "difference", "format": "+.3~f"},
        {"field": "low", "type": "quantitative", "title": "from", "format": "+.3~f"},
        {"field": "high", "type": "quantitative", "title": "to", "format": "+.3~f"},
        {"field": "p", "title": "p after Holm"},
    ]  # fmt: skip
    measures = [title for title in MEASURES.values() if any(row["measure"] == title for row in found)]
    return charts.chart(
        f"{chosen}: difference of each model to {first}, in percentage points. {said}",
        26 * max(1, len(models) - 1),
        params=[
            _choice("measure", "Measure", measures, chosen),
            _choice("against", "Compared with", models, first),
        ],
        data=charts.values(found),
        transform=[{"filter": "datum.against == against && datum.measure == measure"}],
        layer=charts.difference_layers(x, y, tooltip),
    )  # fmt: skip


def _choice(name: str, title: str, options: list[str], value: str) -> Mapping[str, Any]:
    return {"name": name, "value": value, "bind": {"input": "select", "options": options, "name": title}}
