import pytest

from deepicd.rewards.terms import combine


def test_the_reward_is_the_weighted_sum_and_keeps_its_terms() -> None:
    score = combine({"outcome": 1.0, "format": 0.5, "other": 0.25}, {"outcome": 0.6, "format": 0.2})
    assert score.value == pytest.approx(0.7)
    assert score.terms == {"outcome": 1.0, "format": 0.5, "other": 0.25}


def test_weights_that_add_up_to_one_give_a_perfect_answer_exactly_one() -> None:
    weights = {"a": 0.5, "b": 0.1, "c": 0.3, "d": 0.1}
    assert combine(dict.fromkeys(weights, 1.0), weights).value == 1


def test_a_weight_without_its_term_is_an_error() -> None:
    with pytest.raises(KeyError):
        combine({"outcome": 1.0}, {"form": 1.0})
