from __future__ import annotations

import pytest

from deepicd import endpoint
from deepicd.rewards import Sample, Score
from deepicd.rewards.judge.judging import Judging
from deepicd.rewards.judge.rollout import Rollout
from deepicd.spec.reward import RewardSpec
from tests.judge_stub import MODEL, Reply, Stub, stub

GROUPS = [[Rollout(Sample("Pain.</think><diagnosis>M5116</diagnosis>", "M5116", "Pain."), Score(0.5, {"outcome": 1.0}))]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_FIRST_WAIT", 0.01)


def reward(server: Stub, **judge: object) -> RewardSpec:
    fields = {"endpoint": server.url, "name": MODEL, "timeout": "1s", **judge}
    return RewardSpec.model_validate({"weights": {"judge": 0.2}, "judge": fields})


def test_a_reward_has_its_judge_where_it_can_be_had() -> None:
    with stub() as server, Judging(reward(server), None, opened_think=True) as judging:
        scored = judging.score(GROUPS)
    assert scored is not None
    assert scored[0][0].terms["judge"] > 0
    assert judging.name == "reward"


def test_a_judge_that_is_down_gives_the_reward_another_name() -> None:
    with stub() as server:
        pass
    with Judging(reward(server), None, opened_think=True) as judging:
        assert judging.score(GROUPS) is None
    assert judging.name == "reward_without_judge"
    assert judging.failure is not None
    assert "does not answer (unreachable)" in judging.failure


def test_a_judge_that_fails_on_the_way_is_not_asked_again() -> None:
    with stub() as server, Judging(reward(server, maxFailures=0), None, opened_think=True) as judging:
        assert judging.score(GROUPS) is not None
        server.always = lambda prompts: Reply(500)
        other = [[Rollout(Sample("Ache.</think><diagnosis>M5116</diagnosis>", "M5116", "Pain."), Score(0.5, {}))]]
        assert judging.score(other) is None
        asked = len(server.chats)
        assert judging.score(GROUPS) is None
        assert len(server.chats) == asked
    assert judging.name == "reward_without_judge"


def test_a_reward_without_a_judge_is_the_reward() -> None:
    with Judging(RewardSpec(), None, opened_think=True) as judging:
        assert judging.score(GROUPS) is None
    assert judging.name == "reward"
