"""The 19 items of the TRIPOD-LLM statement (Gallifant et al., 2025): what the run knows, and what the authors must add."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deepicd import prompt
from deepicd.errors import UserError
from deepicd.evaluation.card.model_card import TEMPLATES, content, how_split, sent_notes
from deepicd.evaluation.formatting import percent, with_interval
from deepicd.evaluation.report import Report
from deepicd.evaluation.report.overview import LEVEL_TITLES, facts
from deepicd.evaluation.report.section import part, render_text
from deepicd.spec.load import parse


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the statement."""

    number: int
    title: str
    known: list[str]
    """What the run knows."""
    missing: str
    """What the authors must add."""


def tripod_llm(report: Report, model: str) -> str:
    """The items as Markdown."""
    return render_text(TEMPLATES, "tripod-llm.md.j2", items=list(items(report, model)), **content(report, model))


def items(report: Report, model: str) -> Iterator[Item]:
    """The items in the statement's order."""
    own, shared = report.metrics[model], content(report, model)
    known = shared["facts"]
    levels = [
        f"macro F1 at {title.lower()}: {with_interval(own['levels'][level]['macroF1'], percent)} %"
        for level, title in LEVEL_TITLES.items()
    ]
    stages = known.get("Model", "")
    yield Item(
        1, "Title", [f"Development and evaluation of a language model ({stages})."],
        "The title: development, tuning or evaluation, the task, the population, the outcome.",
    )  # fmt: skip
    yield Item(
        2, "Abstract", [f"Data: {known.get('Data', 'not recorded')}.", *levels],
        "A structured summary (the statement has a list for abstracts): context, objectives, setting, how the model was built, "
        "interpretation, implications, registration.",
    )  # fmt: skip
    yield Item(
        3, "Background", ["Task: the principal ICD-10-CM diagnosis from an admission note."],
        "(a) Context, rationale and existing models; (b) target population and intended users.",
    )  # fmt: skip
    yield Item(4, "Objectives", [f"Stages of this run: {stages}."], "The objectives, and which stages the study covers.")
    yield Item(
        5, "Data", _data(report),
        "(a) Sources, and why they were chosen; (b) languages, countries, distributions; (c) dates of the oldest and newest "
        "text; (d) preparation and checks of quality before this run; (e) missing and imbalanced data.",
    )  # fmt: skip
    yield Item(
        6, "Analytical methods", _methods(report, model, stages),
        "(a) Date of the base model's training; (b) why this model and these settings, and how settings were tried; (c) why "
        "this method of training; (d, e) any step after the model's answer.",
    )  # fmt: skip
    yield Item(
        7, "LLM output",
        [*(own["definitions"][name] for name in ("level", "valid", "macroF1", "accuracy")), *_compared(report, model)],
        "(b) How the metrics relate to the use, and to judgements of people; (d) assessors, if any; (e) comparison with people "
        "or published results.",
    )  # fmt: skip
    yield Item(
        8,
        "Annotation",
        [
            "Gold codes are the coded principal diagnoses of the data. The run annotated nothing.",
            *([shared["traces"]] if shared["traces"] else []),
        ],
        "(a) With which guidelines the data were coded; (b) by how many; (c) their experience and agreement.",
    )
    yield Item(9, "Prompting", _prompt(report), "(a) How the prompt was designed and selected; (b) on which data.")
    yield Item(10, "Summarization", [_shortened(report)], "Nothing, unless notes were summarized before this run.")
    yield Item(11, "Instruction tuning/alignment", _alignment(report, model), "Why this reward, and who evaluated it.")
    yield Item(
        12, "Compute", [f"{name}: {known[name]}." for name in ("Hardware", "Time") if name in known] or ["Not recorded."],
        "Cost, if known; time of earlier trials.",
    )  # fmt: skip
    yield Item(13, "Ethics approval", [], "Board, number and consent or waiver; the data use agreement.")
    yield Item(
        14, "Open science",
        [
            f"Code: DeepICD {report.versions.get('deepicd', '')}; settings: run.yaml of the run.",
            "predictions.parquet has the answers without text.",
        ],
        "(a) Funding; (b) interests; (c) protocol; (d) registration; (e) availability of data, and (f) of code and model.",
    )  # fmt: skip
    yield Item(15, "Public involvement", [], "Involvement of patients and the public, or that there was none.")
    yield Item(
        16, "Participants",
        [f"Test split: {own['admissions']:,} admissions of {own['patients']:,} patients.", *_flow(report)],
        "(a) Flow before this run; (b) characteristics and dates by split; (c) training and test data compared; (d) patients "
        "and outcomes in each analysis.",
    )  # fmt: skip
    yield Item(17, "Performance", [*levels, *_fairness(own)], "Human evaluation, if any.")
    yield Item(18, "LLM updating", ["None: the model is as it was trained."], "Updates after this evaluation.")
    yield Item(
        19, "Discussion", ["Research use only. The limits are in README.md."],
        "(a) Interpretation with fairness; (b) limitations; (c) difficulties of the data; (d) intended use and oversight; "
        "(e) input of poor quality; (f) what users do and must know; (g) next steps.",
    )  # fmt: skip


def _compared(report: Report, model: str) -> list[str]:
    others = [name for name in report.metrics if name != model]
    return [f"On the same admissions: {', '.join(others)}."] if others else []


def _data(report: Report) -> list[str]:
    found = [f"{facts(report).get('Data', 'Not recorded')}."]
    for name, split in ((report.prompts or {}).get("splits") or {}).items():
        found.append(f"{name}: {split['notes']:,} notes, {split['shortened']:,} of them shortened.")
    return [*found, how_split(report), *sent_notes(report)]


def _flow(report: Report) -> list[str]:
    return [f"{one['count']:,} of {one['of']:,} {one['what']} left out: {one['reason']}." for one in report.left_out or ()]


def _methods(report: Report, model: str, stages: str) -> list[str]:
    spec = report.spec
    grpo = (spec.get("stages") or {}).get("grpo") or {}
    names = ("temperature", "topK", "maxPromptTokens", "maxResponseTokens", "learningRate")
    values = [f"{name} {grpo[name]}" for name in names if grpo.get(name) is not None]
    drawn = part(report.metrics[model], "sampling")
    beside = f", and draws {drawn['samples']} more for the reward and the confidence" if drawn else ""
    found = [f"Model: {stages}.", f"The evaluation decodes one completion for each admission greedily{beside}."]
    if values and model == "grpo":
        found.append(f"GRPO: {', '.join(values)}; seed {spec.get('seed', 'not recorded')}.")
    found.append("Output: <think>, then one code in <diagnosis>, read from the text without probability or threshold.")
    return [*found, f"Versions: {', '.join(f'{name} {number}' for name, number in report.versions.items())}."]


def _prompt(report: Report) -> list[str]:
    try:
        used = prompt.of(parse(report.content, "run.yaml").spec.model.prompt)
    except UserError:
        return ["deepicd.json of the model has the prompt."]
    return [
        "deepicd.json of the model has the prompt and its budgets.",
        *([f"System: {json.dumps(used.system, ensure_ascii=False)}"] if used.system else []),
        f"User: {json.dumps(used.user, ensure_ascii=False)}",
    ]


def _shortened(report: Report) -> str:
    budget = (report.prompts or {}).get("max_prompt_tokens")
    return "No note was summarised." + (
        f" A prompt has at most {budget:,} tokens: longer notes lose text at the end of sections." if budget else ""
    )


def _alignment(report: Report, model: str) -> list[str]:
    if model != "grpo":
        return ["Supervised fine-tuning on traces and answers. This model was not trained on a reward."]
    reward = report.spec.get("reward") or {}
    weights = ", ".join(f"{name} {weight:g}" for name, weight in (reward.get("weights") or {}).items())
    judge = (
        "A language model judged completions during training."
        if report.judge
        else "No language model and no person judged completions."
    )
    return [f"Reward preset: {reward.get('preset', 'deepicd')}" + (f", weights {weights}." if weights else "."), judge]


def _fairness(own: Any) -> list[str]:
    found = part(own, "fairness") or {}
    return [f"{name.capitalize()}: {one['conclusion']}" for name, one in found.items()] or [
        "No group of patients was compared."
    ]
