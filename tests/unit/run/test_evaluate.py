"""Which models of a run are evaluated, and what is said of its judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepicd.evaluation.predictions import Prediction
from deepicd.rewards import Score
from deepicd.rewards.judge import watch
from deepicd.run.context import Context
from deepicd.run.evaluate import about_judge, models, reward_name
from deepicd.run_layout import RunLayout
from deepicd.spec.evaluate import EvaluateSpec
from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun
from tests.unit.spec.test_load import quickstart
from tests.unit.stops import NeverStop

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


def evaluated(stages: dict[str, object], settings: EvaluateSpec) -> list[str]:
    content = {
        "apiVersion": "deepicd.io/v1alpha1",
        "kind": "DeepICDRun",
        "metadata": {"name": "run"},
        "spec": {"model": {"tiny": {}}, "data": {"synthetic": {}}, "stages": stages},
    }
    context = Context(parse(content, "run.yaml"), RunLayout(Path("run")), NeverStop(), lambda *_: None)
    return list(models(context, settings))


@pytest.mark.parametrize(
    ("stages", "base", "found"),
    [
        ({"sft": {}, "grpo": {}}, True, ["base", "sft", "grpo"]),
        ({"sft": {}, "grpo": {}}, False, ["sft", "grpo"]),
        ({"grpo": {}}, False, ["grpo"]),
        ({"evaluate": {}}, True, ["base"]),
        ({"evaluate": {}}, False, ["base"]),
    ],
)
def test_the_base_model_is_evaluated_unless_left_out_beside_a_trained_one(
    stages: dict[str, object], base: bool, found: list[str]
) -> None:
    assert evaluated(stages, EvaluateSpec(base=base)) == found
