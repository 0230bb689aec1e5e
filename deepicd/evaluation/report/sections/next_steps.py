"""What to do next, according to the run's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from deepicd.evaluation.formatting import is_real
from deepicd.evaluation.report.comparisons import last_pair
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render
from deepicd.evaluation.warnings import LEAST_FORMAT, MOST_TRUNCATED


def section(report: Report) -> Section:
    """The list."""
    return Section("next", "What to do next", "Next", render("next_steps.html.j2", steps=list(next_steps(report))))


def next_steps(report: Report) -> Iterator[str]:
    """One sentence or two each, the most urgent first."""
    last = report.trained[-1]
    rates, stages = report.metrics[last]["rates"], report.spec.get("stages") or {}
    if (rates["faults"].get("truncated", {"value": None})["value"] or 0) > MOST_TRUNCATED:
        yield "Raise stages.grpo.maxResponseTokens, or train longer: many completions are cut off before they name a code."
    if rates["format"]["value"] is not None and rates["format"]["value"] < LEAST_FORMAT:
        yield "Train SFT longer, or check the prompt: most completions lack the required format."
    if _still_rises(report):
        yield "Train longer: the validation reward was highest at the last validation (stages.grpo.maxSteps)."
    if report.is_synthetic:
        yield "Train on real notes: synthetic admissions only show that the pipeline works."
    if "base" not in report.metrics:
        yield "Set stages.evaluate.base to true to see what training gained over the base model."
    unclear = _undecided(report)
    limit = (stages.get("evaluate") or {}).get("maxAdmissions")
    if unclear and limit:
        yield f"Evaluate more admissions: {limit:,} (stages.evaluate.maxAdmissions) are too few to tell {unclear} apart."
    elif unclear:
        yield f"Collect more test admissions: this test set is too small to tell {unclear} apart at each level."
    yield "Repeat the run with other seeds before you claim a gain: the intervals do not include the randomness of training."
    yield "Have coding experts review a sample of answers, including right ones, before you claim anything about their quality."


def _still_rises(report: Report) -> bool:
    found = [
        row["validationReward"] for row in report.curves if row["stage"] == "grpo" and row.get("validationReward") is not None
    ]
    known = [value for value in found if isfinite(value)]
    return len(known) >= 3 and known[-1] > max(known[:-1])


def _undecided(report: Report) -> str:
    """The last two models as words, if their difference is within chance at any level; else empty."""
    pair = last_pair(report)
    if pair is None:
        return ""
    known = [name for name, measure in pair.measures.items() if name.endswith(".macroF1") and measure["interval"] is not None]
    unclear = any(not is_real(pair.measures[name], pair.p.get(name)) for name in known)
    return f"{pair.first} and {pair.second}" if unclear else ""
