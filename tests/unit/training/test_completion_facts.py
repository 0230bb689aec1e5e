from __future__ import annotations

import pytest

from deepicd.rewards.judge.second import Opinion, SecondSums
from deepicd.training.completion_facts import EVICTED, SURPLUS, of_judges, per_token, without_variance

KEYS = ["a_0_0", "a_1_0", "b_0_0", "b_1_0", "c_0_0", "c_1_0", "d_0_0", "d_1_0"]


def test_a_group_has_no_variance_if_all_its_rewards_are_equal() -> None:
    assert without_variance(KEYS, [1, 1, 0, 0, 0, 1, 0.2, 0.3], {}) == 0.5


def test_groups_that_were_dropped_count_too() -> None:
    rewards = [0, 1, 0, 1, 0, 1, 0, 1]
    assert without_variance(KEYS, rewards, {EVICTED: 3, SURPLUS: 1}) == 3 / 8


def test_entropy_and_kl_divided_by_the_limit_become_those_of_a_token() -> None:
    # Two completions of 2 and 4 tokens with an entropy of 0.5 each, divided by a limit of 10.
    metrics = {"actor/entropy": (2 * 0.5 + 4 * 0.5) / 2 / 10, "response_length/mean": 3.0, "actor/loss": 1.0}
    assert per_token(metrics, 10) == {"actor/entropy": pytest.approx(0.5)}


def test_a_second_judge_has_its_mean_and_agreement_among_the_metrics_of_a_validation() -> None:
    second = SecondSums()
    for verdict in ((True, True), (False, False)):
        second.add(["a", "b"], (True, False), Opinion(0.5, verdict))
    assert of_judges(second) == {
        "deepicd/second_judge": 0.5, "deepicd/judges_agreed": 0.5, "deepicd/judges_kappa": 0.0,
    }  # fmt: skip
