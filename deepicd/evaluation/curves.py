"""Figures of training: metrics by step, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepicd.evaluation import svg

Row = Mapping[str, Any]
"""One step of training; see `Report.curves`."""

SMOOTHED_ABOVE = 60
"""Number of steps above which a curve is drawn faint, under its running mean over a twentieth of the steps."""
_LINE_COLOURS = ("#1b4f8a", "#d9822b", "#2f8f6b", "#a63d57", "#7a5195", "#66727f")


def grpo_curves(rows: Sequence[Row], kl_name: str) -> str | None:
    """Reward, KL, loss and response length of GRPO by step; None if the rows have none of them."""
    panels = [
        ("reward", "Reward", "validationReward"),
        ("kl", kl_name if "KL" in kl_name else f"KL ({kl_name})", None),
        ("loss", "Policy-gradient loss", None),
        ("responseTokens", "Response length (tokens)", None),
    ]
    return _panels("grpo", rows, panels)


def sft_curves(rows: Sequence[Row]) -> str | None:
    """Loss of SFT by step; None if the rows have none."""
    return _panels("sft", rows, [("loss", "Loss", "validationLoss")])


def term_curves(rows: Sequence[Row]) -> str | None:
    """Mean of every reward term by step; None if the rows have none."""
    names = sorted({name for row in rows for name in row.get("terms") or {}})
    if not names:
        return None
    flat = [{"step": row["step"], **(row.get("terms") or {})} for row in rows]
    with svg.style():
        figure = Figure(figsize=(svg.WIDTH, 2.4), layout="constrained")
        axes = figure.subplots()
        for position, name in enumerate(names):
            _line(axes, flat, name, _LINE_COLOURS[position % len(_LINE_COLOURS)], name)
        _step_axis(axes)
        axes.set_ylabel("Mean of the term")
        figure.legend(loc="outside right upper")
        return svg.render(figure, "terms", _description(flat, [(name, name) for name in names]))


def _panels(name: str, rows: Sequence[Row], panels: Sequence[tuple[str, str, str | None]]) -> str | None:
    """One panel for each series that the rows have, with its validation series; None if they have none."""
    drawn = [
        (key, title, validation)
        for key, title, validation in panels
        if len(_series(rows, key)[0]) or (validation and len(_series(rows, validation)[0]))
    ]
    if not drawn:
        return None
    columns = min(2, len(drawn))
    lines = -(-len(drawn) // columns)
    with svg.style():
        figure = Figure(figsize=(svg.WIDTH, 2.3 * lines + 0.1), layout="constrained")
        all_axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        described = []
        for axes, (key, title, validation) in zip(all_axes, drawn, strict=False):
            _line(axes, rows, key, _LINE_COLOURS[0], "training")
            described.append((key, title))
            if validation and len(_series(rows, validation)[0]):
                steps, values = _series(rows, validation)
                axes.plot(steps, values, color=_LINE_COLOURS[1], marker="o", markersize=3.5, label="validation")
                axes.legend(loc="best")
                described.append((validation, f"{title}, validation"))
            axes.set_title(title)
            _step_axis(axes)
        for axes in all_axes[len(drawn) :]:
            axes.remove()
        return svg.render(figure, name, _description(rows, described))


def _step_axis(axes: Axes) -> None:
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, high - 1), max(high, low + 1))  # otherwise a single step gets fractional neighbours
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("Step")


def _series(rows: Sequence[Row], key: str) -> tuple[Any, Any]:
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None and np.isfinite(row[key])]
    return np.array([step for step, _ in points]), np.array([value for _, value in points], dtype=np.float64)


def _line(axes: Axes, rows: Sequence[Row], key: str, colour: str, label: str) -> None:
    """Draw a series; a long one faint, under its running mean."""
    steps, values = _series(rows, key)
    if len(steps) <= SMOOTHED_ABOVE:
        marker = "o" if len(steps) <= 2 else None
        axes.plot(steps, values, color=colour, marker=marker, markersize=3.5, label=label)
        return
    span = len(steps) // 20
    mean = np.convolve(values, np.ones(span) / span, mode="valid")
    axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
    axes.plot(steps[span - 1 :], mean, color=colour, label=label)


def _description(rows: Sequence[Row], keys: Sequence[tuple[str, str]]) -> str:
    parts = []
    for key, title in keys:
        steps, values = _series(rows, key)
        if len(steps):
            parts.append(f"{title}: {values[0]:.3g} at step {steps[0]}, {values[-1]:.3g} at step {steps[-1]}")
    return "By step. " + "; ".join(parts)
