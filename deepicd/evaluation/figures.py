"""Figures of the results: functions from metrics to inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepicd.evaluation import svg
from deepicd.evaluation.confusion import SHORT_TITLES, Confusion
from deepicd.evaluation.frequency import Frequency
from deepicd.evaluation.levels import Level
from deepicd.evaluation.metrics_schema import Measure, Metrics

LEVEL_NAMES = {Level.CHAPTER: "Chapter", Level.CATEGORY: "Category", Level.CODE: "Full code"}
_MODEL_COLOURS = ("#c8ced6", "#8ab8e0", "#2f74b5", "#d9822b", "#7a5195")
"""Distinct in lightness as well as in hue, so that a grey print shows the difference."""


def model_colours(models: Sequence[str]) -> dict[str, str]:
    """A colour for each model."""
    return {model: _MODEL_COLOURS[position % len(_MODEL_COLOURS)] for position, model in enumerate(models)}


def f1_by_level(metrics: Mapping[str, Metrics]) -> str:
    """Headline macro F1 by level and model, with intervals."""
    groups = [(LEVEL_NAMES[level], level.value) for level in Level]
    with svg.style():
        figure = Figure(figsize=(svg.WIDTH, 2.9), layout="constrained")
        _bars(figure.subplots(), metrics, groups, lambda own, level: own["levels"][level]["macroF1"])
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
        parts = [
            f"{model}: " + ", ".join(f"{name} {_percent(own['levels'][key]['macroF1'])}" for name, key in groups)
            for model, own in metrics.items()
        ]
        return svg.render(figure, "levels", "Macro F1 in percent by level. " + "; ".join(parts))


def f1_by_frequency(metrics: Mapping[str, Metrics]) -> str | None:
    """Macro F1 by the frequency of classes in the training set; None if that is unknown."""
    known = {
        level: [(own["levels"][level]["byFrequency"] or {}) for own in metrics.values()]
        for level in (Level.CATEGORY, Level.CODE)
    }
    if not all(all(groups) for groups in known.values()):
        return None
    with svg.style():
        figure = Figure(figsize=(svg.WIDTH, 2.8), layout="constrained")
        parts = []
        for axes, (level, groups) in zip(figure.subplots(1, 2, sharey=True), known.items(), strict=True):
            labels = [(f"{name}\n{groups[0][name]['classes']} classes", name.value) for name in Frequency]
            _bars(axes, metrics, labels, partial(_frequency_f1, level))
            axes.set_title(LEVEL_NAMES[level])
            parts += [
                f"{LEVEL_NAMES[level]}, {model}: " + ", ".join(f"{name} {_percent(own[name]['macroF1'])}" for name in Frequency)
                for model, own in zip(metrics, groups, strict=True)
            ]
        figure.axes[1].set_ylabel("")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=len(metrics))
        return svg.render(figure, "frequency", "Macro F1 in percent by frequency in the training set. " + "; ".join(parts))


def faults(metrics: Mapping[str, Metrics], titles: Mapping[str, str]) -> str | None:
    """Share of completions with each fault, by model; None if no completion was parsed."""
    parsed = {model: own for model, own in metrics.items() if own["rates"]["format"]["value"] is not None}
    if not parsed:
        return None
    names = list(dict.fromkeys(name for own in parsed.values() for name in own["rates"]["faults"]))
    colours = model_colours(list(metrics))
    with svg.style():
        figure = Figure(figsize=(svg.WIDTH, 0.115 * len(names) * (len(parsed) + 1) + 0.7), layout="constrained")
        axes = figure.subplots()
        height = 0.8 / len(parsed)
        for position, (model, own) in enumerate(parsed.items()):
            measures = [own["rates"]["faults"].get(name, {"value": 0.0, "interval": None}) for name in names]
            where = np.arange(len(names)) - 0.4 + height * (position + 0.5)
            values, errors = _with_errors(measures)
            axes.barh(
                where,
                values,
                height,
                xerr=errors,
                color=colours[model],
                label=model,
                error_kw={"elinewidth": 0.8, "ecolor": svg.INK},
            )
        axes.set_yticks(range(len(names)), [titles.get(name, name) for name in names])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x")
        axes.set_xlim(left=0)
        axes.set_xlabel("Completions with the fault (%)")
        figure.legend(loc="outside right upper")
        parts = [
            f"{model}: "
            + ", ".join(f"{titles.get(name, name)} {_percent(measure)}" for name, measure in own["rates"]["faults"].items())
            for model, own in parsed.items()
        ]
        return svg.render(figure, "faults", "Faults in percent of completions. " + "; ".join(parts))


def chapter_confusion(confusion: Confusion, model: str) -> str:
    """Heat map of predicted by gold chapter; every row sums to 100 %."""
    totals = confusion.admissions.sum(axis=1)
    shares = 100 * confusion.admissions / totals[:, None]
    rows = [f"{chapter} {SHORT_TITLES[chapter]} ({total:,})" for chapter, total in zip(confusion.gold, totals, strict=True)]
    columns = [*map(str, confusion.predicted), "none"]
    with svg.style():
        figure = Figure(figsize=(svg.WIDTH, 0.235 * len(rows) + 1.2), layout="constrained")
        axes = figure.subplots()
        mesh = axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=100, edgecolors="white", linewidth=0.6)
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                colour = "white" if share > 55 else svg.INK
                axes.text(column + 0.5, row + 0.5, f"{share:.0f}", ha="center", va="center", color=colour, fontsize=7)
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        axes.axvline(len(columns) - 1, color=svg.MUTED, linewidth=0.8)
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.set_xlabel("Predicted chapter (none: no valid prediction)")
        axes.set_ylabel("Gold chapter (admissions)")
        figure.colorbar(mesh, ax=axes, label="% of the gold chapter", shrink=0.6, aspect=30).outline.set_visible(False)
        parts = []
        for row, chapter in enumerate(confusion.gold):
            own = shares[row, confusion.predicted.index(chapter)]
            parts.append(f"{SHORT_TITLES[chapter]} {own:.0f}")
        description = f"Percent of the admissions of each gold chapter for which {model} answered that chapter: "
        return svg.render(figure, "confusion", description + ", ".join(parts))


def _frequency_f1(level: Level, own: Any, group: str) -> Measure:
    measure: Measure = own["levels"][level]["byFrequency"][group]["macroF1"]
    return measure


def _bars(
    axes: Axes,
    metrics: Mapping[str, Metrics],
    groups: Sequence[tuple[str, str]],
    measure: Callable[[Any, str], Measure],
) -> None:
    width = 0.8 / len(metrics)
    for position, (model, colour) in enumerate(model_colours(list(metrics)).items()):
        values, errors = _with_errors([measure(metrics[model], key) for _, key in groups])
        where = np.arange(len(groups)) - 0.4 + width * (position + 0.5)
        axes.bar(
            where,
            values,
            width * 0.94,
            yerr=errors,
            color=colour,
            label=model,
            error_kw={"elinewidth": 0.8, "ecolor": svg.INK},
        )
        for x, value, above in zip(where, values, errors[1], strict=True):
            if not np.isnan(value):
                axes.annotate(
                    f"{value:.0f}" if value >= 9.95 else f"{value:.1f}",
                    (x, value + above),
                    (0, 2),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7.5,
                )
    axes.set_xticks(range(len(groups)), [label for label, _ in groups])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_ylim(bottom=0)
    axes.margins(y=0.1)
    axes.set_ylabel("Macro F1 (%)")


def _with_errors(measures: Sequence[Measure]) -> tuple[Any, Any]:
    """Values [n] and error bars [2, n] in percent; 0 without an interval."""
    values = np.array([np.nan if own["value"] is None else 100 * own["value"] for own in measures])
    ends = np.array([[np.nan, np.nan] if own["interval"] is None else own["interval"] for own in measures]) * 100
    errors = np.abs(ends.T - values)
    return values, np.where(np.isnan(errors), 0.0, errors)


def _percent(measure: Measure) -> str:
    return "not defined" if measure["value"] is None else f"{100 * measure['value']:.1f}"
