"""The verdict: significant, not, worse, missing."""

from __future__ import annotations

import pytest

from deepicd.evaluation.metrics_schema import Measure
from deepicd.evaluation.report.verdict import Difference, verdict, verdict_of_one


def measure(value: float | None, *ends: float) -> Measure:
    return {"value": value, "interval": list(ends) or None}


BETTER = Difference("category", measure(0.041, 0.012, 0.07))
UNCLEAR = Difference("code", measure(0.003, -0.01, 0.016))
WORSE = Difference("chapter", measure(-0.02, -0.03, -0.01))


def test_a_gain_beyond_chance_is_better_and_the_rest_cannot_be_told() -> None:
    assert verdict("sft", "grpo", [BETTER, UNCLEAR]) == (
        "GRPO is better than SFT at category level (+4.1 [1.2, 7.0]), in points of macro F1 with 95 % intervals. "
        "At full code (+0.3 [−1.0, 1.6]) the test set cannot tell."
    )


def test_a_loss_beyond_chance_is_worse() -> None:
    assert verdict("sft", "grpo", [WORSE]).startswith("GRPO is worse than SFT at chapter level (−2.0 [−3.0, −1.0])")


def test_levels_that_disagree_are_both_named() -> None:
    assert verdict("base", "sft", [WORSE, BETTER]).startswith(
        "SFT is better than the base model at category level (+4.1 [1.2, 7.0]), and worse than the base model at chapter level"
    )


def test_differences_within_chance_are_no_gain() -> None:
    assert verdict("sft", "grpo", [UNCLEAR]) == (
        "The test set cannot tell GRPO from SFT at full code (+0.3 [−1.0, 1.6]), in points of macro F1 with 95 % intervals."
    )


@pytest.mark.parametrize(("missing", "shown"), [(measure(0.5), "+50.0"), (measure(None), "–")])
def test_without_an_interval_nothing_is_claimed(missing: Measure, shown: str) -> None:
    assert verdict("sft", "grpo", [Difference("code", missing)]) == (
        f"GRPO minus SFT is {shown} at full code, in points of macro F1 without an interval: it may be chance."
    )


def test_a_sentence_begins_with_a_capital_whichever_model_it_is_about() -> None:
    assert verdict("tfidf", "base", [BETTER, UNCLEAR]).startswith("The base model is better than tfidf at category level")
    assert verdict("tfidf", "base", [Difference("code", measure(0.5))]).startswith("The base model minus tfidf")
    assert verdict_of_one("base", {"code": measure(0.25)}) == "The base model has a macro F1 of 25.0 at full code (percent)."


def test_an_interval_that_excludes_0_and_is_not_significant_is_explained() -> None:
    corrected = Difference("code", measure(0.1, 0.05, 0.15), 0.2)
    assert verdict("sft", "grpo", [corrected]).endswith("with 95 % intervals, after Holm's correction.")
    assert verdict("sft", "grpo", [WORSE, corrected]).endswith("the test set cannot tell, after Holm's correction.")


@pytest.mark.parametrize(("p", "real"), [(0.04, True), (0.06, False)])
def test_a_corrected_p_value_decides_before_the_interval(p: float, real: bool) -> None:
    assert Difference("code", measure(0.1, 0.05, 0.15), p).is_real is real


@pytest.mark.parametrize("none", [measure(0.0, 0.0, 0.0), measure(0.0), measure(-1e-17, 0.0, 1e-17)])
def test_models_without_a_difference_are_equal(none: Measure) -> None:
    same = "GRPO has the same macro F1 as SFT at full code."
    assert verdict("sft", "grpo", [Difference("code", none)]) == same
    assert verdict("sft", "grpo", [WORSE, Difference("code", none, 1.0)]).endswith(same)


def test_a_difference_of_0_that_varies_over_samples_is_within_chance() -> None:
    assert "cannot tell" in verdict("sft", "grpo", [Difference("code", measure(0.0, -0.1, 0.1))])


def test_one_model_is_described_by_its_own_numbers() -> None:
    assert verdict_of_one("sft", {"chapter": measure(0.5, 0.4, 0.6), "code": measure(0.25)}) == (
        "SFT has a macro F1 of 50.0 [40.0, 60.0] at chapter level and 25.0 at full code (percent)."
    )
