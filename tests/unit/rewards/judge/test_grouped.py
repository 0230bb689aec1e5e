from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest

from deepicd import endpoint
from deepicd.errors import JudgeError
from deepicd.rewards import Sample, Score
from deepicd.rewards.judge.grouped import GroupedJudge
from deepicd.rewards.judge.judge import Judge
from deepicd.rewards.judge.roles import SECOND
from deepicd.rewards.judge.rollout import Rollout, Scored
from deepicd.rewards.judge.rubric import load_rubric
from deepicd.spec.judge import JudgeSpec
from tests.judge_stub import MODEL, Reply, Stub, all_yes, criteria, stub

RUBRIC = load_rubric("default")
ALL_YES = RUBRIC.score([True] * len(RUBRIC.criteria))


def rollout(trace: str, note: str | None = "Leg pain.", code: str = "M5116") -> Rollout:
    text = f"{trace}</think><diagnosis>{code}</diagnosis>" if trace else ""
    return Rollout(Sample(text, "M5116", note), Score(0.5, {"outcome": float(code == "M5116")}))


def scores(
    server: Stub, groups: Sequence[Sequence[Rollout]], seen: list[tuple[int, int]] | None = None, **fields: Any
) -> list[list[Score]]:
    """Scores of rollouts that come one by one, the first of each group first."""
    spec = JudgeSpec.model_validate({"endpoint": server.url, "name": MODEL, "maxFailures": 0.9, "timeout": "2s", **fields})

    async def work() -> list[list[Score]]:
        async with Judge(spec) as judge:
            grouped = GroupedJudge(
                judge, opened_think=True, weight=0.2, only_where_outcome_varies=spec.only_where_outcome_varies,
                on_scored=lambda step, found: (seen if seen is not None else []).append((step, len(found))),
            )  # fmt: skip
            order = sorted(
                ((place, number) for number, group in enumerate(groups) for place in range(len(group))),
            )
            found = await asyncio.gather(
                *(grouped.score(str(number), len(groups[number]), 7, groups[number][place]) for place, number in order)
            )
            by_place = dict(zip(order, found, strict=True))
            return [[by_place[place, number] for place in range(len(group))] for number, group in enumerate(groups)]

    return asyncio.run(work())


def refuses(word: str) -> Any:
    return lambda prompt: "no verdict" if word in prompt else all_yes(prompt)


def test_a_second_judge_is_asked_the_same_and_counts_in_no_score() -> None:
    def all_no(prompt: str) -> str:
        return json.dumps(dict.fromkeys(criteria(prompt), False))

    seen: list[Scored] = []
    with stub() as first, stub(all_no) as other:
        second = {"endpoint": other.url, "name": "second"}
        other.model = "second"
        spec = JudgeSpec.model_validate({"endpoint": first.url, "name": MODEL, "second": second})

        async def work() -> list[Score]:
            async with Judge(spec) as judge, Judge(spec, role=SECOND) as another:
                grouped = GroupedJudge(
                    judge, opened_think=True, weight=0.2, only_where_outcome_varies=False, second=another,
                    on_scored=lambda step, found: seen.extend(found),
                )  # fmt: skip
                return list(await asyncio.gather(*(grouped.score("a", 2, 1, one) for one in (rollout("One."), rollout("")))))

        found = asyncio.run(work())
    assert [score.value for score in found] == [0.5 + 0.2 * ALL_YES, 0.5]
    assert "judge_second" not in found[0].terms
    assert [len(server.chats) for server in (first, other)] == [1, 1]
    assert seen[0].second is not None
    assert seen[0].second.value == pytest.approx(1 - ALL_YES)
    assert (seen[0].verdict, seen[0].second.verdict) == ((True,) * 8, (False,) * 8)
    assert seen[1].second is not None
    assert (seen[1].second.value, seen[1].second.verdict) == (0.0, None)  # it has no reasoning


def test_groups_that_end_together_share_a_request() -> None:
    groups = [[rollout(f"Trace {number} {place}.") for place in range(8)] for number in range(64)]
    with stub() as server:
        seen: list[tuple[int, int]] = []
        found = scores(server, groups, seen)
        assert len(server.chats) <= 3 * 512 / 20
    assert {score.value for group in found for score in group} == {0.5 + 0.2 * ALL_YES}
    assert {step for step, _ in seen} == {7}
    assert sum(count for _, count in seen) == 512


def test_a_missing_verdict_gets_its_groups_mean() -> None:
    with stub(refuses("odd")) as server:
        first, second, third = scores(server, [[rollout("One."), rollout("odd"), rollout("Two.")]])[0]
    assert [first.value, second.value, third.value] == [0.5 + 0.2 * ALL_YES] * 3
    assert math.isnan(second.terms["judge"])
    assert (second.terms["judge_missing"], first.terms["judge_missing"]) == (1, 0)


def test_a_group_without_verdicts_gets_the_mean_of_the_others() -> None:
    with stub(refuses("odd")) as server:
        found = scores(server, [[rollout("One."), rollout("Two.")], [rollout("odd 1"), rollout("odd 2")]])
        alone = scores(server, [[rollout("odd 1"), rollout("odd 2")]])
    assert {score.value for score in alone[0]} == {0.5}
    assert [score.value for score in found[1]] == [0.5 + 0.2 * ALL_YES] * 2


def test_no_reasoning_is_worth_nothing_and_asks_nothing() -> None:
    with stub() as server:
        (none, some) = scores(server, [[rollout(""), rollout("One.")]])[0]
        assert len(server.chats) == 1
    assert (none.value, none.terms["judge"], none.terms["judge_missing"]) == (0.5, 0, 0)
    assert some.terms["judge"] == ALL_YES


def test_an_unknown_note_leaves_the_verdict_missing() -> None:
    with stub() as server:
        ((only,),) = scores(server, [[rollout("One.", note=None)]])
        assert server.chats == []
    assert math.isnan(only.terms["judge"])


def varied(prompt: str) -> str:
    return json.dumps(dict.fromkeys(criteria(prompt), "Good" in prompt))


def test_where_all_rollouts_are_right_the_judge_may_be_level() -> None:
    group = [rollout("Good."), rollout("Other.")]
    mixed = [rollout("Good."), rollout("Other.", code="J189")]
    with stub(varied) as server:
        level, differ = scores(server, [group, mixed], onlyWhereOutcomeVaries=True)
        noisy = scores(server, [group])[0]
    assert level[0].value == level[1].value
    assert level[0].terms["judge"] != level[1].terms["judge"]
    assert differ[0].value != differ[1].value
    assert noisy[0].value != noisy[1].value


def test_an_error_reaches_every_rollout_of_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_FIRST_WAIT", 0.01)
    with stub() as server:
        server.always = lambda prompts: Reply(500)
        with pytest.raises(JudgeError):
            scores(server, [[rollout("One."), rollout("Two.")]], maxFailures=0)
