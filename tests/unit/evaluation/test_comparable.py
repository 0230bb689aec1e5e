"""Whether the rewards and the form of two runs can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.evaluation.comparable import Scored, absent, of_results, reasons, summary
from deepicd.evaluation.predictions import Prediction
from tests.unit.spec.test_load import quickstart

JUDGE = {"judge": {"endpoint": "http://127.0.0.1:1/v1", "name": "one"}, "weights": {"judge": 0.2}}
JUDGED = [Prediction("1", "1", "I10", "I10", reward=0.5, terms={"outcome": 1.0, "judge": 0.5})]
UNJUDGED = [Prediction("1", "1", "I10", "I10", reward=0.5, terms={"outcome": 1.0})]
INPUTS = {"notes": "n1", "words": "w1", "spec.reward.terms.own.file": "t1", "spec.reward.judge.rubric": "r1"}


def scored(
    folder: Path,
    run: str,
    *,
    reward: Mapping[str, Any] | None = None,
    records: list[Prediction] | None = None,
    inputs: Mapping[str, str] | None = INPUTS,
    version: str = "0.2.0",
    data: Mapping[str, Any] | None = None,
    temperature: float = 0.9,
) -> Scored:
    content = quickstart()
    content["spec"]["reward"] = dict(reward or {})
    content["spec"]["stages"]["grpo"]["temperature"] = temperature
    content["spec"]["data"] = data or content["spec"]["data"]
    about = {"settings": yaml.safe_dump(content), "versions": {"deepicd": version}}
    path = folder / f"{run}.json"
    path.write_text(json.dumps(about | ({} if inputs is None else {"rewardInputs": inputs})))
    return of_results(run, path, {"grpo": UNJUDGED if records is None else records})


def test_runs_of_one_reward_are_comparable(tmp_path: Path) -> None:
    assert absent(scored(tmp_path, "a"), scored(tmp_path, "b", reward={"preset": "deepicd"})) == {}


@pytest.mark.parametrize(
    ("reward", "field"),
    [
        ({"preset": "strict"}, "spec.reward.preset"),
        ({"weights": {"outcome": 0.9}}, "spec.reward.weights.outcome"),
        ({"terms": {"own": {"path": "package.module:function"}}}, "spec.reward.weights.own, spec.reward.terms.own"),
    ],
)
def test_other_rewards_are_named_by_their_fields(reward: Mapping[str, Any], field: str, tmp_path: Path) -> None:
    found = absent(scored(tmp_path, "a"), scored(tmp_path, "b", reward=reward))
    assert list(found) == ["reward"]
    assert found["reward"].startswith("a and b have different rewards (")
    assert field in found["reward"]


def test_another_judge_is_another_reward_and_where_it_is_served_from_only_in_part(tmp_path: Path) -> None:
    first = scored(tmp_path, "a", reward=JUDGE, records=JUDGED)
    other = {**JUDGE, "judge": {**JUDGE["judge"], "name": "two"}}  # type: ignore[dict-item]
    slow = {**JUDGE, "judge": {**JUDGE["judge"], "timeout": "90s", "onlyWhereOutcomeVaries": True}}  # type: ignore[dict-item]
    assert "(spec.reward.judge.name)" in absent(first, scored(tmp_path, "b", reward=other, records=JUDGED))["reward"]
    assert absent(first, scored(tmp_path, "b", reward=slow, records=JUDGED)) == {}


def test_a_reward_without_its_judge_compares_only_with_others_without_theirs(tmp_path: Path) -> None:
    judged = scored(tmp_path, "a", reward=JUDGE, records=JUDGED)
    without = scored(tmp_path, "b", reward=JUDGE)
    assert without.reward_name == "reward_without_judge"
    assert absent(judged, without) == {"reward": "the reward of b is without its judge, which was not available"}
    other = {**JUDGE, "judge": {**JUDGE["judge"], "name": "two"}}  # type: ignore[dict-item]
    changed = {**INPUTS, "spec.reward.judge.rubric": "r2"}
    assert absent(without, scored(tmp_path, "c", reward=other, inputs=changed)) == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("notes", "a and b have different test notes, which the reward reads"),
        ("words", "a and b have different training notes, by whose words the term reasoning is weighed"),
        ("spec.reward.terms.own.file", "a and b have different rewards (the content of spec.reward.terms.own.file)"),
        ("spec.reward.judge.rubric", "a and b have different rewards (the content of spec.reward.judge.rubric)"),
    ],
)
def test_other_notes_and_other_files_of_the_reward_are_noticed(name: str, reason: str, tmp_path: Path) -> None:
    other = scored(tmp_path, "b", inputs={**INPUTS, name: "changed"})
    assert absent(scored(tmp_path, "a"), other) == {"reward": reason}


def test_samples_of_another_temperature_have_another_mean_reward(tmp_path: Path) -> None:
    found = absent(scored(tmp_path, "a"), scored(tmp_path, "b", temperature=0.6))
    assert found == {"reward": "a and b have different rewards (spec.stages.grpo.temperature)"}


def test_another_version_may_define_rewards_and_form_differently(tmp_path: Path) -> None:
    found = absent(scored(tmp_path, "a", version="0.1.0"), scored(tmp_path, "b"))
    assert set(found) == {"reward", "format"}
    assert found["reward"] == "DeepICD 0.1.0 (a) and 0.2.0 (b) may define it differently"


def test_results_without_about_are_comparable_only_with_themselves(tmp_path: Path) -> None:
    bare = of_results("bare", tmp_path / "none.json", {"grpo": UNJUDGED})
    assert absent(bare, bare) == {}
    assert "bare does not record" in absent(bare, of_results("too", tmp_path / "none.json", {}))["reward"]
    assert set(absent(bare, scored(tmp_path, "a"))) == {"reward", "format"}


def test_runs_that_record_no_digests_have_the_same_notes_if_their_data_are_the_same(tmp_path: Path) -> None:
    def of(run: str, cohort: str) -> Scored:
        return scored(tmp_path, run, inputs=None, data={"prepared": cohort, "traces": f"{run}.jsonl"})

    assert absent(of("a", "/cohort"), of("b", "/cohort")) == {}
    assert "different test notes" in absent(of("a", "/cohort"), of("b", "/other"))["reward"]


def test_settings_that_this_version_cannot_read_are_compared_as_they_are(tmp_path: Path) -> None:
    found = []
    for run, preset in (("a", "later"), ("b", "later"), ("c", "latest")):
        path = tmp_path / f"{run}.json"
        path.write_text(json.dumps({"settings": {"spec": {"reward": {"preset": preset, "unknown": 1}}}}))
        found.append(of_results(run, path, {}))
    assert absent(found[0], found[1]) == {}
    assert "(spec.reward.preset)" in absent(found[1], found[2])["reward"]


def test_of_many_reasons_the_first_are_said(tmp_path: Path) -> None:
    runs = [scored(tmp_path, str(number), temperature=0.1 * number) for number in range(1, 5)]
    [(measure, found)] = reasons(runs).items()
    assert (measure, len(found)) == ("reward", 6)
    assert summary(found).endswith("(and 3 more)")
    assert reasons(runs[:1]) == {}
