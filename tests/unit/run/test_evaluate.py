from __future__ import annotations

from pathlib import Path

from deepicd.evaluation.predictions import Prediction
from deepicd.rewards import Score
from deepicd.rewards.judge import watch
from deepicd.run.evaluate import about_judge, reward_name
from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun
from tests.unit.spec.test_load import quickstart

JUDGED, PLAIN = ({"outcome": 1.0, "judge": 0.5}, {"outcome": 1.0})


def with_judge() -> DeepICDRun:
    content = quickstart()
    judge = {"endpoint": "http://127.0.0.1:1/v1", "name": "judge"}
    content["spec"]["reward"] = {"weights": {"judge": 0.1}, "judge": judge}
    return parse(content, "run.yaml")


def prediction(terms: dict[str, float]) -> Prediction:
    return Prediction("1", "1", "M5116", None, reward=0.5, terms=terms)


def test_a_reward_that_lacks_the_runs_judge_has_another_name() -> None:
    assert reward_name(with_judge(), {"base": [prediction(JUDGED)], "grpo": [prediction(JUDGED)]}) == "reward"
    assert reward_name(with_judge(), {"base": [prediction(PLAIN)], "grpo": [prediction(PLAIN)]}) == "reward_without_judge"
    assert reward_name(parse(quickstart(), "run.yaml"), {"base": [prediction(PLAIN)]}) == "reward"


def test_the_report_has_the_rubric_and_the_agreement(tmp_path: Path) -> None:
    log = tmp_path / "judge.jsonl"
    sums = watch.StepSums()
    for value, right in ((1.0, True), (0.0, False)):
        sums.add(Score(0, {"format": 1.0, "judge": value, "judge_missing": 0.0}), right)
    log.write_text(watch.to_json("train", 1, sums) + "\n")
    found = about_judge(with_judge(), log)
    assert found is not None
    assert found["rubric"]["criteria"][0]["name"] == "cites_findings"
    assert (found["completions"], found["missing"], found["alarm"]) == (2, 0, None)
    assert found["agreement"] == {"format": None, "outcome": 1.0}


def test_a_run_without_a_judge_reports_none(tmp_path: Path) -> None:
    assert about_judge(parse(quickstart(), "run.yaml"), tmp_path / "none") is None


def test_a_run_that_has_not_trained_reports_only_the_rubric(tmp_path: Path) -> None:
    found = about_judge(with_judge(), tmp_path / "none")
    assert found is not None
    assert (found["completions"], found["agreement"]) == (0, {})
