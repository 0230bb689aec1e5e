"""Paired differences between all models of a table."""

from __future__ import annotations

import random

import pytest

from deepicd.errors import UserError
from deepicd.evaluation.comparisons import compare_all, on_common_admissions
from deepicd.evaluation.metrics import HEADLINES, compare
from deepicd.evaluation.predictions import Prediction

CODES = ("M5116", "I10", "J189", "D65")


def answers(right: float, *, seed: int, number: int = 120, **known: object) -> list[Prediction]:
    chance = random.Random(seed)
    return [
        Prediction(
            str(place), str(place // 2), CODES[place % 4],
            CODES[place % 4] if chance.random() < right else chance.choice(CODES), **known,  # type: ignore[arg-type]
        )
        for place in range(number)
    ]  # fmt: skip


def test_each_pair_has_the_difference_that_the_pair_alone_has() -> None:
    models = {"a": answers(0.2, seed=1), "b": answers(0.9, seed=2), "c": answers(0.9, seed=3)}
    found = compare_all(models, bootstrap_samples=700, seed=5)
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["bootstrap"]["samples"] == 700
    alone = compare(models["a"], models["c"], bootstrap_samples=700, seed=5)["differences"]
    for name, difference in found["pairs"][1]["differences"].items():
        assert difference["value"] == pytest.approx(alone[name]["value"])
        assert difference["interval"] == pytest.approx(alone[name]["interval"])


def test_what_is_significant_is_corrected_over_the_pairs_of_a_measure() -> None:
    models = {"a": answers(0.2, seed=1), "b": answers(0.9, seed=2), "c": answers(0.9, seed=3)}
    by_pair = [pair["differences"]["code.macroF1"] for pair in compare_all(models, bootstrap_samples=600)["pairs"]]
    assert [difference["significant"] for difference in by_pair] == [True, True, False]
    assert by_pair[0]["pHolm"] == pytest.approx(3 * 2 / 601)
    assert by_pair[0]["p"] == pytest.approx(2 / 601)


def test_many_pairs_raise_the_number_of_samples() -> None:
    models = {str(number): answers(0.5, seed=number, number=20) for number in range(5)}
    assert compare_all(models, bootstrap_samples=100)["bootstrap"]["samples"] == 2000


def test_what_a_model_does_not_have_is_absent_with_its_reason() -> None:
    models = {"tfidf": answers(0.5, seed=1, faults=None), "grpo": answers(0.5, seed=2, reward=0.5)}
    [pair] = compare_all(models, bootstrap_samples=0)["pairs"]
    assert pair["absent"] == {"format": "tfidf: no value of format", "reward": "tfidf: no value of reward"}
    assert set(pair["differences"]) == set(HEADLINES) - {"format", "reward"}
    assert pair["differences"]["code.macroF1"]["p"] is None


def test_one_model_has_no_pairs() -> None:
    assert compare_all({"a": answers(0.5, seed=1)})["pairs"] == []


def test_models_are_compared_on_the_admissions_that_all_of_them_answered() -> None:
    first, second = answers(1, seed=1, number=6), answers(1, seed=1, number=9)[2:]
    found = on_common_admissions({"a": first, "b": second})
    assert [record.id for record in found["a"]] == [record.id for record in found["b"]] == ["2", "3", "4", "5"]


def test_models_of_other_admissions_or_other_gold_codes_are_refused() -> None:
    first = answers(1, seed=1, number=4)
    with pytest.raises(UserError, match="no admission in common"):
        on_common_admissions({"a": first[:2], "b": first[2:]})
    with pytest.raises(UserError, match="several patients or gold codes"):
        on_common_admissions({"a": first, "b": [Prediction("0", "0", "J189", None)]})
    with pytest.raises(UserError, match="twice"):
        on_common_admissions({"a": [first[0], first[0]]})
    with pytest.raises(UserError, match="the same admissions"):
        compare_all({"a": first, "b": first[:2]})


@pytest.mark.parametrize("patients", [1, 2, 5])
def test_too_few_patients_show_no_difference_to_be_significant(patients: int) -> None:
    wrong, right = ([Prediction(str(n), str(n % patients), "I10", code) for n in range(40)] for code in ("J189", "I10"))
    [pair] = compare_all({"a": wrong, "b": right})["pairs"]
    found = pair["differences"]["code.macroF1"]
    assert (found["value"], found["interval"], found["p"], found["significant"]) == (1.0, None, None, None)


def test_a_few_patients_who_all_improve_are_significant_only_without_other_pairs() -> None:
    def six(code: str) -> list[Prediction]:
        return [Prediction(str(n), str(n), "I10", code) for n in range(6)]

    [alone] = compare_all({"a": six("J189"), "b": six("I10")})["pairs"]
    assert alone["differences"]["code.accuracy"]["p"] == pytest.approx(2 / 2**6)
    pairs = compare_all({"a": six("J189"), "b": six("I10"), "c": six("D65")})["pairs"]
    assert not any(pair["differences"]["code.accuracy"]["significant"] for pair in pairs)
