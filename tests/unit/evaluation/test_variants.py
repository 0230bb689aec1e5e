"""Half of a note, and a wrong diagnosis in front of it."""

from __future__ import annotations

import pytest

from deepicd import icd10
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.variants import MOST_ADDED, first_half, planted_codes, with_wrong_diagnosis


def test_the_first_half_ends_after_a_whole_word() -> None:
    assert first_half("aaa bbb ccc ddd eee") == "aaa bbb"
    assert first_half("abcdef") == "abc"


def test_the_planted_diagnosis_is_another_admissions_of_another_category() -> None:
    codes = ["M5116", "M5117", "I10", "J189"] * 5
    ids = [str(number) for number in range(20)]
    planted = planted_codes(ids, codes, seed=1)
    assert set(planted) <= set(codes)
    assert all(icd10.category(str(wrong)) != icd10.category(code) for wrong, code in zip(planted, codes, strict=True))
    assert planted == planted_codes(ids, codes, seed=1) != planted_codes(ids, codes, seed=2)


def test_without_another_category_nothing_is_planted() -> None:
    assert planted_codes(["1", "2"], ["M5116", "M5117"], seed=0) == [None, None]


def test_no_title_adds_more_than_the_room_that_is_kept_for_it() -> None:
    longest = max(icd10.billable_codes(), key=lambda code: len(icd10.description(code)))
    assert len(with_wrong_diagnosis("", longest).encode()) <= MOST_ADDED
    assert with_wrong_diagnosis("Fever.", "I10") == "Referred with the diagnosis: Essential (primary) hypertension.\n\nFever."


def record(number: int, answer: str | None, **variants: str | None) -> Prediction:
    return Prediction(str(number), str(number), "M5116", answer, variants=variants)


CLOSURE = [
    record(1, "M5116", half_note="M5117", planted="I10", wrong_first="I10"),
    record(2, "M5116", half_note="M5116", planted="I10", wrong_first="M5116"),
    record(3, "I10", half_note=None, planted="I10", wrong_first="I10"),  # was the planted answer before
    record(4, None, half_note="M5116", planted="J189", wrong_first="J189"),
]


def test_how_often_the_answer_holds_and_follows_by_hand() -> None:
    found = compute(CLOSURE, bootstrap_samples=0)["prematureClosure"]
    half, misled = found["half_note"], found["wrong_first"]
    # Of the three valid answers 2 holds at code level; 1 and 2 at category level.
    assert half["code"]["held"]["value"] == pytest.approx(1 / 3)
    assert half["category"]["held"]["value"] == pytest.approx(2 / 3)
    assert half["code"]["right"]["value"] == pytest.approx(2 / 4)
    assert misled["code"]["held"]["value"] == pytest.approx(2 / 3)
    # 3 does not count: 1 and 4 follow, 2 does not.
    assert misled["code"]["followed"]["value"] == pytest.approx(2 / 3)
    assert "followed" not in half["code"]


def test_constrained_answers_are_compared_with_the_free_ones() -> None:
    records = [record(1, "M5116", constrained="M5116"), record(2, "M51", constrained="M5117")]
    found = compute(records, bootstrap_samples=0, seconds={"free": 0.5, "constrained": 0.6})["constrained"]
    assert found["levels"]["category"]["accuracy"]["value"] == 1
    assert found["levels"]["category"]["gain"]["value"] == pytest.approx(1 - 2 / 3)
    assert found["secondsPerAdmission"] == {"free": 0.5, "constrained": 0.6}


def test_what_was_not_asked_is_not_in_the_metrics() -> None:
    found = compute([record(1, "M5116")], bootstrap_samples=0)
    assert not {"constrained", "prematureClosure"} & set(found)
