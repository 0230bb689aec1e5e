"""The rules on planted faults, as `benchmarks/trace_filters.py` measures them on more."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.trace_filters import Caught, measure, sentence_sets, told
from deepicd.distill.filters import Case, Rule, rejected
from deepicd.distill.form import Answer
from deepicd.distill.founded import Note
from deepicd.spec.distill import FiltersSpec

NUMBER = 100
NOTE = "Chief Complaint: cough\nHistory: man with rusty sputum, pleuritic pain for 3 days. No hemoptysis."
TRACE = "Came in with cough and rusty sputum and pleuritic pain; no hemoptysis. A clot is unlikely. So it fits lobar pneumonia."


@pytest.fixture(scope="module")
def measured() -> tuple[dict[Rule, Caught], int]:
    """Counts by rule, and the number of clean traces that are lost."""
    return measure(NUMBER)


@pytest.mark.parametrize("rule", list(Rule))
def test_each_rule_rejects_its_planted_faults_by_itself(rule: Rule, measured: tuple[dict[Rule, Caught], int]) -> None:
    counts = measured[0][rule]
    assert counts.planted >= NUMBER // 2
    assert counts.by_its_rule / counts.planted >= 0.95


def test_clean_traces_are_kept(measured: tuple[dict[Rule, Caught], int]) -> None:
    counts, lost = measured
    assert lost / NUMBER <= 0.02, counts


def test_told_finds_the_sentences_that_it_was_tuned_on() -> None:
    for name, sentences in sentence_sets().items():
        if "tuned on" in name and "clinical" not in name:
            assert len(told(sentences)) / len(sentences) >= 0.95, name


def test_told_leaves_clinicians_their_words() -> None:
    clinical = [sentence for name, sentences in sentence_sets().items() if "clinical" in name for sentence in sentences]
    assert len(clinical) > 200
    assert len(told(clinical)) / len(clinical) <= 0.02


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
