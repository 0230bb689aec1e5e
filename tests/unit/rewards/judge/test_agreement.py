import math

import pytest

from deepicd.rewards.judge.agreement import by_criterion, cohens_kappa
from deepicd.rewards.judge.rubric import Rubric

RUBRIC = Rubric.model_validate(
    {"version": "1", "instructions": "x", "criteria": [{"name": "a", "question": "A?"}, {"name": "b", "question": "B?"}]}
)


def test_kappa_is_the_agreement_beyond_chance() -> None:
    # 20 + 15 of 50 agree; expected 0.5 * 0.6 + 0.5 * 0.4 (the usual worked example).
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = cohens_kappa(first, second)
    assert (found.answers, found.agreed) == (50, 0.7)
    assert found.kappa == pytest.approx(0.4)


def test_equal_answers_agree_in_full_and_opposite_ones_below_chance() -> None:
    answers = [True, False, True, False]
    assert cohens_kappa(answers, answers).kappa == 1
    assert cohens_kappa(answers, [not answer for answer in answers]).kappa == -1


@pytest.mark.parametrize("answers", [[], [True, True]])
def test_kappa_is_unknown_where_chance_explains_all(answers: list[bool]) -> None:
    assert math.isnan(cohens_kappa(answers, answers).kappa)


def test_experts_may_leave_out_criteria_and_completions() -> None:
    judged = {"1": (True, False), "2": (False, False), "3": (True, True)}
    experts = {"1": {"a": True, "b": True}, "2": {"a": False}, "9": {"a": True}}
    found = by_criterion(RUBRIC, judged, experts)
    assert {name: one.answers for name, one in found.items()} == {"a": 2, "b": 1, "all": 3}
    assert found["a"].kappa == 1
    assert found["all"].agreed == pytest.approx(2 / 3)
