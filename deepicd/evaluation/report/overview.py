"""The first screen: what was trained on which data, the verdict, the warnings and the table."""

from __future__ import annotations

from datetime import datetime

from markupsafe import Markup

from deepicd.evaluation.formatting import duration
from deepicd.evaluation.report.comparisons import Pair, last_pair, pair_of, pairs
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import render
from deepicd.evaluation.report.verdict import Difference, verdict, verdict_of_one
from deepicd.evaluation.warnings import SYNTHETIC, warnings
from deepicd.run_layout import TRAINING_STAGES

LEVEL_TITLES = {"chapter": "Chapter", "category": "Category", "code": "Full code"}


def overview(report: Report) -> Markup:
    """The first screen's HTML."""
    return render(
        "overview.html.j2",
        report=report,
        last=report.last,
        facts=facts(report),
        verdict=verdict_of(report),
        warnings=warnings(report.metrics, synthetic=False, left_out=report.left_out or ()),
        synthetic=SYNTHETIC if report.is_synthetic else None,
        pairs=pairs(report),
        level_titles=LEVEL_TITLES,
    )


def facts(report: Report, *, until: str | None = None) -> dict[str, str]:
    """What was trained on which data, when, where and for how long: a title and a text for each known fact.

    `until`: the last stage of training that counts for the model; by default the run's last.
    """
    found = {"Model": _model(report, until), "Data": _data(report), "Evaluated on": _evaluated(report)}
    if report.finished:
        found["Finished"] = datetime.fromisoformat(report.finished).strftime("%-d %B %Y, %H:%M UTC")
    if report.hardware:
        found["Hardware"] = _hardware(report)
    if report.stage_seconds:
        found["Time"] = _time(report)
    return {title: text for title, text in found.items() if text}


def gpu_hours(report: Report) -> float | None:
    """GPU-hours of SFT and GRPO, including the judge's GPUs; None on CPUs, or if unknown.

    For a resumed stage all its steps count, because its recorded duration is that of the last launch.
    """
    hardware = report.hardware or {}
    if not hardware.get("gpus"):
        return None
    hours = 0.0
    for stage in TRAINING_STAGES:
        gpus = hardware["gpus"] + (hardware.get("judgeGpus", 0) if stage == "grpo" else 0)
        hours += gpus * _seconds(report, stage) / 3600
    return hours or None


def _seconds(report: Report, stage: str) -> float:
    steps = sum(row.get("seconds") or 0.0 for row in report.curves if row["stage"] == stage)
    return max(report.stage_seconds.get(stage, 0.0), steps)


def _model(report: Report, until: str | None) -> str:
    model = report.spec.get("model") or {}
    name = model.get("path") or ("a small model with random weights" if model.get("tiny") is not None else "")
    counted = TRAINING_STAGES[: TRAINING_STAGES.index(until) + 1] if until in TRAINING_STAGES else TRAINING_STAGES
    stages = [stage.upper() for stage in counted if (report.spec.get("stages") or {}).get(stage) is not None]
    return f"{name}, {' then '.join(stages)}" if name and stages else name


def _data(report: Report) -> str:
    data = report.spec.get("data") or {}
    kinds = {"synthetic": "synthetic admissions", "mimic": "MIMIC-IV", "notes": "own notes", "prepared": "a prepared cohort"}
    kind = next((title for name, title in kinds.items() if data.get(name)), "")
    train = ((report.prompts or {}).get("splits") or {}).get("train")
    return f"{kind}, {train['notes']:,} admissions for training" if kind and train else kind


def _evaluated(report: Report) -> str:
    last = report.last
    return f"{last['admissions']:,} test admissions of {last['patients']:,} patients"


def _hardware(report: Report) -> str:
    found = report.hardware or {}
    if found.get("gpus"):
        judge = found.get("judgeGpus", 0)
        return f"{found['gpus']} × {found['name']}" + (f" (and {judge} for the judge)" if judge else "")
    return f"{found['cores']} CPU cores ({found['name']}), no GPU"


def _time(report: Report) -> str:
    whole = duration(sum(max(seconds, _seconds(report, stage)) for stage, seconds in report.stage_seconds.items()))
    hours = gpu_hours(report)
    trained = "" if hours is None else f"; {hours:.1f} GPU-hours of training"
    return f"{whole} ({', '.join(report.stage_seconds)}){trained}"


def verdict_of(report: Report) -> str:
    """The verdict about the run's last two models, or its only one; then about the last and the best other model."""
    pair, last = last_pair(report), report.trained[-1]
    if pair is None:
        levels = report.metrics[last]["levels"]
        found = [verdict_of_one(last, {level: own["macroF1"] for level, own in levels.items()})]
    else:
        found = [_verdict(pair)]
    others = [name for name in report.metrics if name not in report.trained]
    if others:
        best = max(others, key=lambda name: report.metrics[name]["levels"]["category"]["macroF1"]["value"] or 0.0)
        found.append(_verdict(pair_of(report, best, last), **({} if pair is None else {"unit": ""})))
    return " ".join(found)


def _verdict(pair: Pair, **said: str) -> str:
    names = {level: f"{level}.macroF1" for level in LEVEL_TITLES}
    return verdict(
        pair.first,
        pair.second,
        [Difference(level, pair.measures[name], pair.p.get(name)) for level, name in names.items()],
        **said,
    )
