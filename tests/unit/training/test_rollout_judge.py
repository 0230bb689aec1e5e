from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from deepicd.rewards import Sample, Score
from deepicd.rewards.judge import watch
from deepicd.rewards.judge.rollout import Rollout
from deepicd.spec.load import parse
from deepicd.spec.run import RunSpec
from deepicd.training.rollout_judge import rollout_judge
from deepicd.training.stage_files import StageFiles
from tests.judge_stub import MODEL, Stub, stub
from tests.unit.spec.test_load import quickstart


def spec(server: Stub, **judges: Any) -> RunSpec:
    content = quickstart()
    judge = {"endpoint": server.url, "name": MODEL, "onlyWhereOutcomeVaries": True, **judges}
    content["spec"]["reward"] = {"weights": {"judge": 0.1}, "judge": judge}
    return parse(content, "run.yaml").spec


def files(folder: Path) -> StageFiles:
    found = StageFiles(folder / "run" / "stages" / "grpo")
    found.metrics.mkdir(parents=True)
    return found


def rollout(trace: str) -> Rollout:
    return Rollout(Sample(f"{trace}</think><diagnosis>M5116</diagnosis>", "M5116", "Pain."), Score(0.5, {"outcome": 1.0}))


def test_rollouts_of_a_step_are_judged_kept_and_noted(tmp_path: Path) -> None:
    with stub() as server:
        place = files(tmp_path)
        judge = rollout_judge(spec(server), place)
        assert judge is not None

        async def step() -> list[Score]:
            trained = [judge.score(prompt, 2, "train", 3, rollout(f"{prompt} {n}.")) for prompt in "ab" for n in range(2)]
            return list(await asyncio.gather(*trained, judge.score("c", 1, "validation", 3, rollout("c."))))

        scores = asyncio.run(step())
    assert all(score.terms["judge"] > 0 for score in scores)
    lines = place.judged.read_text().splitlines()
    assert watch.read(lines)[3].completions == 4
    assert watch.read(lines, "validation")[3].completions == 1
    assert len((tmp_path / "run" / "judge" / "verdicts.jsonl").read_text().splitlines()) == 5


def test_the_second_judge_is_asked_about_the_validation_only(tmp_path: Path) -> None:
    with stub() as server, stub() as other:
        other.model = "second"
        place = files(tmp_path)
        judge = rollout_judge(spec(server, second={"endpoint": other.url, "name": "second"}), place)
        assert judge is not None

        async def step() -> list[Score]:
            trained = [judge.score("a", 2, "train", 3, rollout(f"a {n}.")) for n in range(2)]
            return list(await asyncio.gather(*trained, judge.score("c", 1, "validation", 3, rollout("c."))))

        asyncio.run(step())
        assert [len(content["messages"]) for _, content in other.chats] == [1]
    lines = place.judged.read_text().splitlines()
    assert watch.read(lines)[3].second is None
    second = watch.read(lines, "validation")[3].second
    assert second is not None
    assert (second.values, second.agreement.agreed) == (1, 1.0)


def test_a_run_without_a_judge_has_none(tmp_path: Path) -> None:
    assert rollout_judge(parse(quickstart(), "run.yaml").spec, files(tmp_path)) is None
