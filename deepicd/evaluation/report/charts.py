"""Vega-Lite specifications of the report's charts. Colours are the page's CSS variables, so they follow dark mode and print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deepicd.evaluation.formatting import interval, percent
from deepicd.evaluation.metrics_schema import Measure

Spec = dict[str, Any]

INK, MUTED, RULE, ACCENT = "var(--ink)", "var(--muted)", "var(--rule)", "var(--c2)"
COLOURS = tuple(f"var(--c{number})" for number in range(1, 9))
"""Distinct in lightness as well as in hue, so that a greyscale print shows the difference."""
_NARROWEST = 320
"""Width in pixels of the narrowest place for a chart: half of the page, or a phone."""

NAMES: Spec = {
    "labelExpr": "length(datum.label) > 30 ? slice(datum.label, 0, 14) + '…' + slice(datum.label, length(datum.label) - 15)"
    " : datum.label"
}
"""An axis of names such as `RUN/MODEL`; both ends of a long name are shown."""
CONFIG: Spec = {
    "font": "system-ui, sans-serif",
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED, "titleColor": MUTED, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
        "domainColor": RULE, "tickColor": RULE, "gridColor": RULE, "gridOpacity": 0.6, "titlePadding": 8, "labelLimit": 260,
    },
    "legend": {
        "labelColor": INK, "titleColor": MUTED, "labelFontSize": 12, "title": None, "orient": "top", "symbolType": "square",
        "offset": 8, "padding": 0, "labelLimit": 300,
    },
    "text": {"color": INK, "fontSize": 11},
    "header": {"labelColor": INK, "titleColor": MUTED},
}  # fmt: skip


def chart(description: str, height: int | Spec, **parts: Any) -> Spec:
    """A chart as wide as its place on the page. `description` has the numbers, for screen readers."""
    return {
        "description": description,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        **parts,
    }


def values(rows: Iterable[Mapping[str, Any]]) -> Spec:
    """Rows of data, numbers with five digits."""
    return {"values": [{name: _short(value) for name, value in row.items()} for row in rows]}


def colours(names: Sequence[str], *, lines: bool = False) -> Spec:
    """The encoding of a series' colour, the same for each chart of these series. The first of `lines` is not grey."""
    palette = COLOURS[1:] if lines else COLOURS
    # If there are more series than colours, they repeat in a paler shade.
    palette += tuple(f"color-mix(in srgb, {colour} 45%, var(--paper))" for colour in palette)
    scale = {"domain": list(names), "range": [palette[at % len(palette)] for at in range(len(names))]}
    symbol = {"symbolType": "stroke", "symbolStrokeWidth": 3} if lines else {}
    legend = {"symbolOpacity": 1, **symbol, **_columns(names)} if len(names) > 1 else None
    return {"field": "series", "type": "nominal", "scale": scale, "legend": legend}


def _columns(names: Sequence[str]) -> Spec:
    """The legend's columns, if its names do not fit on one line of the narrowest place for a chart."""
    fitting = max(1, int(_NARROWEST / (7 * max(map(len, names)) + 26)))
    return {"columns": fitting} if fitting < len(names) else {}


def bar(group: str, series: str, measure: Measure) -> Spec:
    """A row for `bar_layers`: the measure in percent, without missing values."""
    ends = measure["interval"] or (None, None)
    found = {"value": measure["value"], "low": ends[0], "high": ends[1]}
    shown = percent(measure["value"]) + (f" ({interval(measure, percent)})" if measure["interval"] else "")
    return {
        "group": group, "series": series, "shown": shown,
        **{name: 100 * value for name, value in found.items() if value is not None},
    }  # fmt: skip


def said(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows' numbers as text."""
    return "; ".join(f"{row['group']}, {row['series']}: {row['shown']}" for row in rows)


def bar_layers(
    rows: Sequence[Mapping[str, Any]], measured: str, position: Spec, series: Sequence[str], *, title: str
) -> list[Spec]:
    """Bars, with intervals if they have them.

    Args:
        rows: of `bar`.
        measured: `x` or `y`, the channel of the value.
        position: encoding of the group on the other channel.
        series: names of the series, in order.
        title: of the value's axis.
    """
    other, offset = ("y", "yOffset") if measured == "x" else ("x", "xOffset")
    apart = {offset: {"field": "series", "sort": list(series)}} if len(series) > 1 else {}
    tooltip = [{"field": "group", "title": " "}, {"field": "series", "title": "model"}, {"field": "shown", "title": title}]
    value = {"field": "value", "type": "quantitative", "title": title, "scale": {"nice": True, "zero": True}}
    place = {other: position, **apart, "tooltip": tooltip}
    bars = {
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {measured: value, **place, "color": colours(series)},
    }
    if not any("low" in row for row in rows):
        return [bars]
    ends = {measured: {"field": "low", "type": "quantitative"}, f"{measured}2": {"field": "high"}}
    intervals = {
        "transform": [{"filter": "isValid(datum.low)"}],
        "mark": {"type": "rule", "color": INK, "strokeWidth": 1.2},
        "encoding": {**ends, **place},
    }
    return [bars, intervals]


def difference_layers(x: Spec, y: Spec, tooltip: Sequence[Spec], *, real: str = ACCENT) -> list[Spec]:
    """Differences with their intervals and a line at 0; differences beyond chance are coloured.

    Args:
        x: encoding of the difference; rows have `value`, `low`, `high` and `real`.
        y: encoding of the row.
        tooltip: fields.
        real: the colour.
    """
    shown = {
        "y": y, "color": {"condition": {"test": "datum.real", "value": real}, "value": MUTED}, "tooltip": list(tooltip),
    }  # fmt: skip
    return [
        {"data": {"values": [{"zero": 0}]}, "transform": [], "mark": {"type": "rule", "color": MUTED},
         "encoding": {"x": {"field": "zero", **x}}},
        {"mark": {"type": "rule", "strokeWidth": 1.5},
         "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}, **shown}},
        {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
         "encoding": {"x": {"field": "value", **x}, **shown}},
    ]  # fmt: skip


def hover_layer(series: Sequence[str], x: Spec) -> Spec:
    """A line at the step nearest to the pointer, with the values of all series at that step."""
    tooltip = [{"field": "step", "type": "quantitative", "title": "step"}]
    tooltip += [{"field": _escaped(name), "type": "quantitative", "title": name, "format": ".5~r"} for name in series]
    nearest = {"type": "point", "fields": ["step"], "nearest": True, "on": "pointerover", "clear": "pointerout"}
    return {
        "transform": [{"pivot": "series", "value": "value", "groupby": ["step"]}],
        "params": [{"name": "near", "select": nearest}],
        "mark": {"type": "rule", "color": MUTED},
        "encoding": {
            "x": x,
            "opacity": {"condition": {"param": "near", "empty": False, "value": 0.8}, "value": 0},
            "tooltip": tooltip,
        },
    }  # fmt: skip


def _escaped(name: str) -> str:
    """The name of a field, escaped for Vega-Lite: a bare dot or bracket would mean a part of the field."""
    return re.sub(r"([.\[\]\\])", r"\\\1", name)


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
