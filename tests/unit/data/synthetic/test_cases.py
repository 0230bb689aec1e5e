"""Drawing cases, and the reasoning that leads from their notes to the diagnosis."""

from __future__ import annotations

import random

import pytest

from deepicd import icd10
from deepicd.data import sections
from deepicd.data.synthetic import cases, summary
from deepicd.data.synthetic.cases import Case
from deepicd.data.synthetic.diseases import choose

DISEASES = choose(60, random.Random(3))


@pytest.fixture(scope="module")
def drawn() -> list[Case]:
    rng = random.Random(5)
    return [cases.draw(rng.choice(DISEASES), DISEASES, rng) for _ in range(500)]


def test_a_trace_has_15_to_30_words(drawn: list[Case]) -> None:
    rng = random.Random(0)
    assert all(15 <= len(cases.trace(case, rng).split()) <= 30 for case in drawn)


def test_a_trace_names_the_diagnosis_but_not_the_code(drawn: list[Case]) -> None:
    rng = random.Random(0)
    for case in drawn:
        trace = cases.trace(case, rng)
        assert case.disease.description[1:] in trace
        assert case.disease.code not in trace
        assert icd10.display(case.disease.code) not in trace


def test_a_trace_is_grounded_in_the_note(drawn: list[Case]) -> None:
    rng = random.Random(0)
    for case in drawn:
        note = " ".join(sections.render(sections.extract(summary.write(case, "F", rng))).split())
        seen = cases.trace(case, rng).split("; note shows ")[1].split(". ")[0].split(", ")
        assert case.complaint in note
        assert seen
        assert all(finding in note for finding in seen)


def test_no_note_denies_a_complaint_of_its_own_disease(drawn: list[Case]) -> None:
    assert not any(case.denied in case.disease.presentation.complaint for case in drawn)


def test_evidence_is_sometimes_missing_and_sometimes_misleads(drawn: list[Case]) -> None:
    assert any(len(case.signs) < len(case.disease.signs) for case in drawn)
    assert any(set(case.findings) - set(case.disease.presentation.finding) for case in drawn)
    assert any(case.complaint not in case.disease.presentation.complaint for case in drawn)
    assert all(case.findings or case.signs for case in drawn)
