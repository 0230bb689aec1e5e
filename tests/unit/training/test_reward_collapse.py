from __future__ import annotations

from collections.abc import Iterable

import pytest

from deepicd.spec.recovery import RewardCollapseSpec
from deepicd.training.reward_collapse import RewardWatch


def collapsed_at(rewards: Iterable[float], window: int = 3, drop: float = 0.2) -> int | None:
    """Number of the first step (from 1) at which the reward has collapsed."""
    watch = RewardWatch(RewardCollapseSpec(window=window, drop=drop))
    return next((number for number, reward in enumerate(rewards, 1) if watch.step(reward) is not None), None)


@pytest.mark.parametrize(
    ("rewards", "step"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], None),
        ([0.6] * 6 + [0.0] + [0.6] * 6, None),
        ([0.6] * 6 + [0.39] * 6, 9),
        ([0.6] * 6 + [0.41] * 6, None),
        ([0.6] * 3 + [0.0] * 2, None),
        ([-5.0] * 3 + [-1.0] * 6 + [-5.0] * 3, 10),
        ([], None),
    ],
)
def test_only_a_lasting_loss_of_reward_is_a_collapse(rewards: list[float], step: int | None) -> None:
    assert collapsed_at(rewards) == step


def test_the_finding_is_returned() -> None:
    watch = RewardWatch(RewardCollapseSpec(window=2, drop=0.1))
    found = [watch.step(reward) for reward in (0.5, 0.5, 0.5, 0.5, 0.0, 0.0)]
    assert found[-1] == "mean reward of the last 2 steps 0, highest before 0.5"
