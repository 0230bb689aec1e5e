"""GRPO and evaluation with a judge that shares the policy's device, whose server the run starts and ends; endpoints that fail.

A judge with a device of its own: test_losses.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deepicd.rewards.judge import watch
from deepicd.run_layout import RunLayout
from deepicd.training import kept_rollouts
from deepicd.training.step_metrics import all_steps
from tests.judge_stub import MODEL, Reply, stub
from tests.training.answering_model import make_answering_model
from tests.training.deepicd_process import DeepicdProcess
from tests.training.runs import CANARY, GRPO, write_run, write_tables_with_canary

pytestmark = [pytest.mark.training, pytest.mark.timeout(2700)]
STAGES: dict[str, dict[str, Any]] = {
    "grpo": {**GRPO, "maxSteps": 2, "maxResponseTokens": 32, "maxValidationAdmissions": 4, "validateEverySteps": 2},
    "evaluate": {"maxAdmissions": 4, "samples": 2, "bootstrapSamples": 0},
}


@dataclass
class Material:
    """What the runs of this file begin with."""

    model: Path
    """The policy at its start, and the judge."""
    data: dict[str, Any]


def start(folder: Path, material: Material, judge: dict[str, Any], **stages: Any) -> DeepicdProcess:
    run = write_run(
        folder / "run.yaml", "judged", material.data, {"evaluate": None, **stages},
        reward={"weights": {"judge": 0.2}, "judge": judge}, model={"path": str(material.model), "dtype": "float32"},
    )  # fmt: skip
    return DeepicdProcess("run", str(run), "--dir", str(folder / "run"))


@pytest.fixture(scope="module")
def material(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Material:
    home = tmp_path_factory.mktemp("material")
    tables = home / "tables"
    write_tables_with_canary(tables)
    (home / "model").mkdir()
    data = {"mimic": {"hosp": str(tables / "hosp"), "note": str(tables / "note")}}
    return Material(make_answering_model(cohort, home / "model"), data)


@dataclass
class Colocated:
    """A finished run whose judge is on the policy's device, with a second judge elsewhere."""

    layout: RunLayout
    output: str
    exit_code: int
    left_behind: list[str]
    asked: list[int]
    """Completions in each request to the second judge."""


@pytest.fixture(scope="module")
def colocated(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Colocated:
    home = tmp_path_factory.mktemp("colocated")
    with stub() as second:
        second.model = "second"
        judge = {
            "model": str(material.model), "placement": "colocated", "second": {"endpoint": second.url, "name": "second"},
        }  # fmt: skip
        process = start(home, material, judge, grpo={**STAGES["grpo"], "keepRollouts": 16}, evaluate=STAGES["evaluate"])
        process.wait_for_step("grpo", 1)
        tree = process.tree()
        code = process.finish()
        asked = [len(content["messages"]) if path.endswith("/batch") else 1 for path, content in second.chats]
    return Colocated(RunLayout(home / "run"), process.text, code, process.left_behind(tree), asked)


def test_a_run_with_a_colocated_judge_is_done_and_leaves_no_server(colocated: Colocated) -> None:
    assert colocated.exit_code == 0, colocated.output[-3000:]
    assert colocated.left_behind == []


def test_a_colocated_judge_judges_whole_steps_once_the_policy_sleeps(colocated: Colocated) -> None:
    grpo = colocated.layout.stage("grpo")
    steps = watch.read(grpo.judged.read_text().splitlines())
    # A sleeping judge refuses: each verdict was given while verl computed rewards, after the rollouts.
    assert {step: (sums.completions, sums.missing) for step, sums in steps.items()} == {1: (16, 0), 2: (16, 0)}
    rows = [
        json.loads(line)["data"] for path in sorted(grpo.metrics.glob("launch-*")) for line in path.read_text().splitlines()
    ]
    assert [row["timing_s/reward"] > 0 for row in rows if "timing_s/step" in row] == [True, True]


def test_the_reward_that_is_trained_on_has_the_colocated_judges_term(colocated: Colocated) -> None:
    grpo = colocated.layout.stage("grpo")
    weights = {"outcome": 0.5, "format": 0.1, "hierarchy": 0.3, "reasoning": 0.1, "judge": 0.2}
    kept = [one for step in (1, 2) for one in kept_rollouts.read(grpo.rollouts, step)]
    assert len(kept) == 32
    for one in kept:
        assert one.reward == pytest.approx(sum(weight * one.terms[name] for name, weight in weights.items()), abs=1e-5)
    assert any(one.terms["judge"] > 0 for one in kept)


def test_a_second_judge_looks_at_each_validation_and_at_nothing_else(colocated: Colocated) -> None:
    validated = [row for row in all_steps(colocated.layout.stage("grpo").metrics) if row.terms]
    assert [row.step for row in validated] == [0, 2]
    for row in validated:
        assert row.second_judge is not None
        assert 0 <= row.second_judge <= 1
        assert row.judges_agreed is not None
    assert 0 < sum(colocated.asked) <= 8


def test_the_reward_of_the_evaluation_has_the_judge(colocated: Colocated) -> None:
    measured = json.loads(colocated.layout.evaluation.metrics.read_text())
    for model in ("base", "grpo"):
        assert measured[model]["reward"]["name"] == "reward"
        assert 0 <= measured[model]["reward"]["terms"]["judge"]["value"] <= 1
    assert "conclusion_follows" in colocated.layout.evaluation.report.read_text()


def test_no_note_text_leaves_the_judge(colocated: Colocated) -> None:
    assert CANARY not in colocated.output
    kept = [path for path in colocated.layout.evaluation.folder.rglob("*") if path.is_file()]
    kept += colocated.layout.judge.iterdir()
    for stage in ("grpo", "evaluate"):
        place = colocated.layout.stage(stage)
        kept += [place.log, place.judge_log, *place.metrics.iterdir()]
    assert len(kept) > 8
    for path in kept:
        assert CANARY.encode() not in path.read_bytes(), path


@pytest.mark.long
def test_a_judge_that_fails_ends_the_attempt_where_the_run_wants_it(material: Material, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: Reply(500, CANARY.encode())
        judge = {"endpoint": server.url, "name": MODEL, "onFailure": "fail"}
        process = start(tmp_path, material, judge, grpo=STAGES["grpo"])
        assert process.finish() == 75
    assert "verdicts are missing (reward.judge.maxFailures): server_error" in process.text
    assert CANARY not in process.text + (tmp_path / "run/stages/grpo/training.log").read_text()


@pytest.mark.long
def test_an_evaluation_whose_judge_is_down_reports_the_reward_without_it(material: Material, tmp_path: Path) -> None:
    with stub() as server:
        judge = {"endpoint": server.url, "name": MODEL}
    process = start(tmp_path, material, judge, evaluate=STAGES["evaluate"])
    assert process.finish() == 0
    assert "is called reward_without_judge" in process.text
    found = json.loads((tmp_path / "run/evaluate/metrics.json").read_text())["base"]["reward"]
    assert found["name"] == "reward_without_judge"
    assert "judge" not in found["terms"]
