"""Training curves: each number of the steps as a chart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from deepicd.evaluation.formatting import duration
from deepicd.evaluation.report import charts
from deepicd.evaluation.report.charts import Spec
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render
from deepicd.run_layout import TRAINING_STAGES

Row = Mapping[str, Any]
"""One step of training; see `Report.curves`."""

SMOOTHED_ABOVE = 60
"""With more steps than this, a curve is drawn faintly under its running mean over a twentieth of the steps."""
FEW = 12
"""Up to this number of points, each point is marked."""
MOST_POINTS = 300
"""Points of a curve; with more steps a point is the mean of several."""
TITLES = {
    "reward": "Reward", "loss": "Loss", "kl": "KL", "responseTokens": "Response length (tokens)",
    "formatRate": "Without a format fault", "truncated": "Cut off at the token limit", "entropy": "Entropy (nats per token)",
    "gradientNorm": "Gradient norm", "clipped": "Tokens with a clipped ratio",
    "groupsWithoutVariance": "Groups without variance", "rolloutDifference": "Trainer against vLLM (probability)",
    "seconds": "Seconds a step", "tokensPerSecond": "Tokens a second", "mfu": "Share of peak speed",
    "gpuMemory": "GPU memory (GiB)",
}  # fmt: skip
"""Titles of the known numbers, in their order; another number's title is its name, in words."""
_VALIDATION = {"reward": "validationReward", "loss": "validationLoss"}
"""The validation's series in the chart of a number of the steps."""
_KL_OF_UPDATE = "actor/ppo_kl"
_KL_NOTES = {
    True: "KL is verl's actor/ppo_kl: between the policy that sampled a step's completions and the policy being "
    "updated on them. It is not the distance from the model that GRPO started from.",
    False: "KL is to the reference policy, the model that GRPO started from.",
}


def section(report: Report) -> Section:
    """Training curves and the duration of each stage."""
    found: dict[str, Spec] = {}
    by_stage: dict[str, list[tuple[str, str]]] = {}
    for stage in TRAINING_STAGES:
        rows = [row for row in report.curves if row["stage"] == stage]
        for key in numbers_of(rows):
            title = f"KL ({report.kl_name})" if key == "kl" and report.kl_name == _KL_OF_UPDATE else title_of(key)
            series = {"training": key} | ({"validation": _VALIDATION[key]} if key in _VALIDATION else {})
            found[f"{stage}-{key}"] = curve(rows, series, title)
            by_stage.setdefault(stage, []).append((f"{stage}-{key}", title))
    html = render(
        "training.html.j2",
        stages=by_stage,
        stage_seconds=report.stage_seconds,
        longest=max([*report.stage_seconds.values(), 1e-9]),
        total=duration(sum(report.stage_seconds.values())),
        kl_note=_KL_NOTES[report.kl_name == _KL_OF_UPDATE] if "grpo-kl" in found else None,
        sft_end=report.sft_end,
        smoothed_above=SMOOTHED_ABOVE,
        thinned=any(len([row for row in report.curves if row["stage"] == stage]) > MOST_POINTS for stage in TRAINING_STAGES),
    )
    return Section("training", "Training", "Training", html, found)


def numbers_of(rows: Sequence[Row]) -> list[str]:
    """Names of the numbers that any of the rows has, those of `TITLES` first; a validation's belongs to its training's."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if _is_number(value) and name != "step")
    shown = {name: None for name in TITLES if name in names or _VALIDATION.get(name) in names}
    return [*shown, *(name for name in names if name not in shown and name not in _VALIDATION.values())]


def title_of(name: str) -> str:
    """The title of a number of the steps."""
    return TITLES.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def curve(rows: Sequence[Row], series: Mapping[str, str], title: str, *, height: int = 170) -> Spec:
    """A line for each series by step, with the values under the pointer.

    Args:
        rows: steps.
        series: name of each series to its key in the rows; those without a value are not drawn.
        title: what the values are.
        height: of the chart, in pixels.
    """
    known = {name: points for name, key in series.items() if (points := _points(rows, key))}
    names = list(known)
    data = [{"step": step, "series": name, "value": value} for name, points in known.items() for step, value in points]
    steps = [step for points in known.values() for step, _ in points]
    drawn = [value for points in known.values() for _, value in points]
    long = [name for name, points in known.items() if len(points) > SMOOTHED_ABOVE]
    few = [name for name, points in known.items() if len(points) <= FEW]
    x = {
        "field": "step", "type": "quantitative", "title": "step", "scale": {"nice": False},
        "axis": {"format": "d", "grid": False, **_whole_ticks(steps)},
    }  # fmt: skip
    labels = {"tickCount": 4, "format": _label_format(drawn)}
    y = {"type": "quantitative", "title": None, "scale": {"zero": False}, "axis": labels}
    encoding = {"x": x, "y": {"field": "value", **y}, "color": charts.colours(names, lines=True)}
    line: Spec = {"type": "line", "strokeWidth": 2}
    layers: list[Spec] = []
    if len(long) < len(names):
        layers.append({"transform": [_only([name for name in names if name not in long])], "mark": line, "encoding": encoding})
    if few:
        dots = {"type": "point", "filled": True, "size": 26, "opacity": 1}
        layers.append({"transform": [_only(few)], "mark": dots, "encoding": encoding})
    if long:
        span = max(len(points) for points in known.values()) // 40
        window = {"window": [{"op": "mean", "field": "value", "as": "mean"}], "frame": [-span, span], "groupby": ["series"]}
        smoothed = {**encoding, "y": {"field": "mean", **y}}
        layers.append({"transform": [_only(long)], "mark": {**line, "opacity": 0.3, "strokeWidth": 1}, "encoding": encoding})
        layers.append({"transform": [_only(long), window], "mark": line, "encoding": smoothed})
    layers.append(charts.hover_layer(names, x))
    said = "; ".join(
        f"{name} {points[0][1]:.3g} at step {points[0][0]}, {points[-1][1]:.3g} at step {points[-1][0]}"
        for name, points in known.items()
    )
    return charts.chart(f"{title} by step: {said}", height, data=charts.values(data), layer=layers)


def _whole_ticks(steps: Sequence[int]) -> Spec:
    """Ticks at whole steps. With fewer than four steps Vega also puts some in between, whatever its `tickMinStep`."""
    first, last = min(steps, default=0), max(steps, default=0)
    return {"values": list(range(first, last + 1))} if last - first < FEW else {"tickMinStep": 1}


def _label_format(values: Sequence[float]) -> str:
    """Format of an axis' labels, with as many digits as the data have. Without a precision, d3 rounds 6.55 to 7 on the axis of
    a constant, and writes 400 as 4e+2.
    """
    return ",.5~r" if max(map(abs, values), default=0) >= 1000 else ".5~g"


def _only(series: Sequence[str]) -> Spec:
    """A filter for the points of these series."""
    return {"filter": {"field": "series", "oneOf": list(series)}}


def _points(rows: Sequence[Row], key: str) -> list[tuple[int, float]]:
    """Step and value for rows that have one. With more than `MOST_POINTS`, each point is the mean of several steps."""
    found = [(int(row["step"]), float(row[key])) for row in rows if _is_number(row.get(key))]
    size = -(-len(found) // MOST_POINTS)
    groups = [found[at : at + size] for at in range(0, len(found), max(size, 1))]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
