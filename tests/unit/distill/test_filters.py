"""The rules on planted faults, as `benchmarks/trace_filters.py` measures them on more."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepicd.distill.filters import Case, Rule, rejected
from deepicd.distill.form import Answer
from deepicd.distill.founded import Note
from deepicd.spec.distill import FiltersSpec

NUMBER = 100
NOTE = "Chief Complaint: cough\nHistory: man with rusty sputum, pleuritic pain for 3 days. No hemoptysis."
TRACE = "Came in with cough and rusty sputum and pleuritic pain; no hemoptysis. A clot is unlikely. So it fits lobar pneumonia."


@pytest.fixture(scope="module")
def planted() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "trace_filters.py"
    spec = importlib.util.spec_from_file_location("trace_filters", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["trace_filters"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured(planted: ModuleType) -> tuple[dict[Rule, Any], Counter[Rule], int]:
    found: tuple[dict[Rule, Any], Counter[Rule], int] = planted.measure(NUMBER)
    return found


@pytest.mark.parametrize("rule", list(Rule))
def test_each_rule_catches_its_planted_faults(rule: Rule, measured: tuple[dict[Rule, Any], Counter[Rule], int]) -> None:
    counts = measured[0][rule]
    assert counts.planted >= NUMBER // 2
    assert counts.caught / counts.planted >= 0.95
    assert counts.by_its_rule / counts.planted >= 0.75


def test_clean_traces_are_kept(measured: tuple[dict[Rule, Any], Counter[Rule], int]) -> None:
    _, lost, clean = measured
    assert sum(lost.values()) / clean <= 0.02, lost


def judged(trace: str = TRACE, *, code: str = "J181", english: bool = True, **filters: Any) -> Rule | None:
    case = Case("J181", "Lobar pneumonia, unspecified organism", Note(NOTE, "Lobar pneumonia, unspecified organism"), english)
    return rejected(Answer(trace, code, well_formed=True), case, FiltersSpec(**filters))


def test_a_good_answer_is_kept() -> None:
    assert judged() is None


def test_another_code_is_rejected_before_anything_is_measured() -> None:
    assert judged(code="J189") is Rule.CODE


@pytest.mark.parametrize(
    ("trace", "rule", "open_"),
    [
        (TRACE, Rule.LENGTH, {"min_words": 5}),
        (TRACE.replace("cough", "cough at 39.4"), Rule.NUMBERS, {"unknown_numbers": 1}),
        (TRACE.replace("no hemoptysis", "hemoptysis"), Rule.CONTRADICTED, {"contradictions": 1}),
        (TRACE.replace("cough and", "cough, palmar erythema and"), Rule.UNFOUNDED, {"unfounded": 1}),
        (f"Lobar pneumonia by its organism. {TRACE}", Rule.NAMED, {"conclusion": 1}),
    ],
)
def test_each_threshold_decides(trace: str, rule: Rule, open_: dict[str, Any]) -> None:
    strict: dict[str, Any] = {"min_words": 500} if rule is Rule.LENGTH else {}
    assert judged(trace, **strict) is rule
    assert judged(trace, **open_) is None


def test_rules_on_english_words_are_off_for_other_languages() -> None:
    assert judged(TRACE.replace("no hemoptysis", "hemoptysis"), english=False) is None
