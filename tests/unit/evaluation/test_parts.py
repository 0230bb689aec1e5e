"""Answers as they come."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from deepicd.evaluation.parts import Answer, Parts, mean_terms, to_predictions
from deepicd.rewards import Score

ADMISSION = {"id": 7, "subject_id": 3, "code": "I10", "extra_info": {"fiscal_years": [2016, 2018]}}


def answer(code: str | None = "I10", judged: tuple[float, dict[str, float]] | None = None) -> Answer:
    return Answer("7", code, [], [code, None], 0.5, {"outcome": 1.0}, judged, {})


def test_batches_are_read_back_in_order_with_their_mean_seconds(tmp_path: Path) -> None:
    parts = Parts(tmp_path, "sft", "key")
    parts.begin()
    parts.write(1, [answer("J189")], {"free": 1.0})
    assert (parts.has(0), parts.has(1)) == (False, True)
    with pytest.raises(FileNotFoundError):
        parts.read(2)
    parts.write(0, [answer(), answer()], {"free": 2.0})
    found, seconds = parts.read(2)
    assert [one.code for one in found] == ["I10", "I10", "J189"]
    assert seconds == {"free": 1.0}


def test_an_interrupted_evaluation_keeps_its_answers_and_another_one_starts_without_them(tmp_path: Path) -> None:
    for key, kept in (("key", False), ("key", True), ("other", False)):
        parts = Parts(tmp_path, "sft", key)
        parts.begin()
        assert parts.has(0) == kept
        parts.write(0, [answer()], {})


def test_batches_with_an_answer_without_the_judge_are_found_and_dropped(tmp_path: Path) -> None:
    parts = Parts(tmp_path, "sft", "key")
    parts.begin()
    judged = answer(judged=(0.9, {"judge": 1.0}))
    parts.write(0, [judged, judged], {})
    parts.write(1, [judged, answer()], {})
    assert parts.unjudged(3) == [1]
    parts.drop(1)
    assert (parts.has(0), parts.has(1)) == (True, False)


def test_a_missing_term_stays_missing(tmp_path: Path) -> None:
    value, terms = mean_terms(
        [Score(0.2, {"outcome": 0.0, "judge": math.nan}), Score(0.6, {"outcome": 1.0, "judge": math.nan})]
    )
    assert value == pytest.approx(0.4)
    assert terms["outcome"] == 0.5
    assert math.isnan(terms["judge"])


def test_a_prediction_has_the_samples_codes_and_the_admissions_facts() -> None:
    [found] = to_predictions([ADMISSION], {"sft": [answer()]})["sft"]
    assert (found.id, found.subject_id, found.gold, found.fiscal_years) == ("7", "3", "I10", (2016, 2018))
    assert (found.prediction, found.samples, found.reward) == ("I10", ("I10", None), 0.5)


def test_the_judge_counts_for_all_answers_or_for_none() -> None:
    with_judge = answer(judged=(0.9, {"outcome": 1.0, "judge": 1.0}))
    both = to_predictions([ADMISSION], {"sft": [with_judge], "grpo": [with_judge]})
    assert [found.reward for [found] in both.values()] == [0.9, 0.9]
    mixed = to_predictions([ADMISSION], {"sft": [with_judge], "grpo": [answer()]})
    assert [found.reward for [found] in mixed.values()] == [0.5, 0.5]
    assert "judge" not in mixed["sft"][0].terms


@pytest.mark.parametrize("damage", ["", '{"answers": [', "[]", '{"answers": [{"id": "7"}], "seconds": {}}', "\x00\x00"])
def test_a_damaged_batch_is_asked_about_again(damage: str, tmp_path: Path) -> None:
    parts = Parts(tmp_path, "sft", "key")
    parts.begin()
    for batch in (0, 1):
        parts.write(batch, [answer()], {})
    next(tmp_path.glob("sft/00001.json")).write_text(damage)
    parts.begin()
    assert (parts.has(0), parts.has(1)) == (True, False)
