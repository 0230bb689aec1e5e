"""A report to test with, and helpers to read its page."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.report import Report

CODES = ["I10", "D65", "M5116", "M5117", "D120", "J189", "A419"]


def answers(right: float, seed: int) -> list[Prediction]:
    """Answers for 80 admissions of 40 patients, a share of them right."""
    choice = random.Random(seed)
    records = []
    for number in range(80):
        gold = CODES[number % len(CODES)]
        answer = gold if choice.random() < right else choice.choice([*CODES, "M51", None])
        faults = () if answer else ("no_diagnosis", "truncated")
        records.append(Prediction(str(number), str(number // 2), gold, answer, faults, float(answer == gold), {"outcome": 1.0}))
    return records


def curve_rows(stage: str, steps: int) -> list[dict[str, Any]]:
    """Rows of training, the last with a validation."""
    return [
        {"stage": stage, "step": step, "reward": 0.1 * step, "kl": 0.001, "loss": 0.5, "responseTokens": 90.0, "terms": {}}
        | ({"validationReward": 0.3, "terms": {"outcome": 0.2}} if step == steps else {})
        for step in range(1, steps + 1)
    ]


def made_report() -> Report:
    """A report of three models, with everything that a run records."""
    models = {"base": answers(0.1, 1), "sft": answers(0.5, 2), "grpo": answers(0.7, 3)}
    counts = {code: 10 * (1 + at) for at, code in enumerate(CODES[:-1])}
    return Report(
        run="quick<start>",
        metrics={name: compute(records, train_counts=counts, bootstrap_samples=50, seed=1) for name, records in models.items()},
        predictions=models,
        curves=[*curve_rows("sft", 5), *curve_rows("grpo", 70)],
        stage_seconds={"prepare": 4.0, "grpo": 181.0},
        settings={"kind": "DeepICDRun", "spec": {"seed": 42}},
        versions={"verl": "0.9.1"},
        kl_name="actor/ppo_kl",
        prompts={
            "max_prompt_tokens": 2048,
            "splits": {
                "train": {"notes": 1000, "shortened": 250, "sections": {
                    "Social History": {"notes": 70, "characters": 900},
                    "Medications on Admission": {"notes": 250, "characters": 9000},
                }},
                "test": {"notes": 0, "shortened": 0, "sections": {}},
            },
            "max_example_tokens": 3072,
            "examples": {"written": 990, "shortened": 12, "dropped": 3},
        },
        left_out=[
            {"what": "admissions", "count": 250, "of": 1000, "reason": "coded in ICD-9 only", "by_choice": True},
            {"what": "traces", "count": 7, "of": 1200, "reason": "a tag (<think>) inside"},
        ],
        traces_untagged=1100,
        finished="2026-01-31T12:00:00+00:00",
        hardware={"name": "NVIDIA H200", "gpus": 4},
    )  # fmt: skip


class Elements(HTMLParser):
    """Every element's name and attributes, and that each is closed."""

    VOID = frozenset({"meta", "br", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(html: str) -> str:
    """What a reader sees of HTML, with single spaces."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def row_of(page: str, section: str, name: str) -> str:
    """The text of a table row, by the section's id and the row's heading."""
    after = page[page.index(f'id="{section}"') :]
    start = re.search(rf'<th scope="row"[^>]*>{re.escape(name)}</th>', after)
    assert start, name
    return text_of(after[start.start() : after.index("</tr>", start.start())])


def without_scripts(page: str) -> str:
    """The page without the libraries' code and its data."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def measure(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "interval": [low, high]}


def _at_each_level(content: Any) -> dict[str, Any]:
    return dict.fromkeys(("chapter", "category", "code"), content)


def fully_evaluated() -> Report:
    """The same report with everything that an evaluation can be asked for, in the form of metrics.json and comparisons.json."""
    report = made_report()
    half = measure(0.5, 0.4, 0.6)
    answer = {"macroF1": half, "microF1": half, "accuracy": half, "gain": measure(-0.02, -0.04, 0.01)}
    calibration = {
        "ece": 0.12, "overconfidence": half, "brier": half, "aurc": half,
        "bins": [{"low": 0.4, "high": 0.5, "admissions": 30, "confidence": 0.45, "accuracy": half}],
        "riskCoverage": [{"confidence": 0.9, "coverage": 0.2, "risk": 0.1}, {"confidence": 0.1, "coverage": 1.0, "risk": 0.5}],
    }  # fmt: skip
    gap = {**measure(-0.1, -0.2, -0.05), "p": 0.001, "pHolm": 0.004, "significant": True}
    groups = [
        {"group": "male", "admissions": 50, "patients": 25, "accuracy": _at_each_level(half)},
        {"group": "female", "admissions": 30, "patients": 21, "accuracy": _at_each_level(half), "gap": _at_each_level(gap)},
    ]
    more = {
        "absent": {"fairness.age": "no admission has an age"},
        "sampling": {
            "samples": 4,
            "levels": _at_each_level({"passAt": {"1": half, "2": half, "4": half}, "agreement": half, "majority": answer}),
        },
        "constrained": {"levels": _at_each_level(answer), "secondsPerAdmission": {"free": 0.02, "constrained": 0.025}},
        "prematureClosure": {
            "half_note": _at_each_level({"held": half, "right": half}),
            "wrong_first": _at_each_level({"held": half, "right": half, "followed": measure(0.25, 0.2, 0.3)}),
        },
        "calibration": {"confidence": "agreement of 4 samples", "answered": 77, "levels": _at_each_level(calibration)},
        "fairness": {
            "sex": {
                "reference": "male", "groups": groups, "suppressed": ["other"], "largestGap": {},
                "conclusion": "There is a gap.",
            }
        },
    }  # fmt: skip
    names = ("chapter.macroF1", "category.macroF1", "code.macroF1", "format", "validCode")
    difference = {**measure(0.1, 0.05, 0.15), "p": 0.01, "pHolm": 0.2, "significant": False}
    pair = {
        "first": "sft",
        "second": "grpo",
        "differences": dict.fromkeys(names, difference),
        "absent": {"reward": "sft: no value of reward"},
    }
    metrics: Any = {name: {**own, **more} for name, own in report.metrics.items()}
    distill = {
        "teacher": {"run": None, "model": None, "endpoint": "http://127.0.0.1:1/v1", "name": "a teacher"}, "admissions": 60,
        "answers": 100, "traces": 50, "rejected": {"named": 30, "form": 20}, "tokens": {"prompt": 9000, "completion": 5000},
        "cost": 1.25,
    }  # fmt: skip
    difficulty = {"samples": 2, "prompts": 60, "kept": 45, "droppedSolved": 5, "droppedUnsolved": 10, "histogram": [10, 45, 5]}
    return replace(report, metrics=metrics, comparisons={"pairs": [pair]}, distill=distill, difficulty=difficulty)
