import math

import pytest

from deepicd.rewards.judge.agreement import Pairs, by_criterion, cohens_kappa
from deepicd.rewards.judge.rubric import Rubric

RUBRIC = Rubric.model_validate(
    {"version": "1", "instructions": "x", "criteria": [{"name": "a", "question": "A?"}, {"name": "b", "question": "B?"}]}
)


def test_kappa_is_the_agreement_beyond_chance() -> None:
    # 20 + 15 of 50 agree; expected 0.5 * 0.6 + 0.5 * 0.4 (the usual worked example).
    found = cohens_kappa(
        [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15,
    )
    assert (found.answers, found.agreed) == (50, 0.7)
    assert found.kappa == pytest.approx(0.4)


def test_equal_answers_agree_in_full_and_opposite_ones_below_chance() -> None:
    answers = [True, False, True, False]
    assert cohens_kappa((answer, answer) for answer in answers).kappa == 1
    assert cohens_kappa((answer, not answer) for answer in answers).kappa == -1


@pytest.mark.parametrize("answers", [[], [True, True]])
def test_kappa_is_unknown_where_chance_explains_all(answers: list[bool]) -> None:
    assert math.isnan(cohens_kappa((answer, answer) for answer in answers).kappa)


def test_counts_of_two_parts_add_up_to_those_of_the_whole() -> None:
    pairs = [(True, True), (True, False), (False, True), (False, False), (False, False)]
    parts = Pairs(), Pairs()
    for place, pair in enumerate(pairs):
        parts[place % 2].add(*pair)
    assert parts[0] + parts[1] == Pairs(both=1, first=1, second=1, neither=2)
    assert (parts[0] + parts[1]).kappa == cohens_kappa(pairs)


def test_experts_may_leave_out_criteria_and_completions() -> None:
    judged = {"1": (True, False), "2": (False, False), "3": (True, True)}
    experts = {"1": {"a": True, "b": True}, "2": {"a": False}, "9": {"a": True}}
    found = by_criterion(RUBRIC, judged, experts)
    assert {name: one.answers for name, one in found.items()} == {"a": 2, "b": 1, "all": 3}
    assert found["a"].kappa == 1
    assert found["all"].agreed == pytest.approx(2 / 3)
