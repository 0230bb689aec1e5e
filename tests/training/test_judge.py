"""GRPO and evaluation with a judge: a real vLLM server that the run starts and ends, and endpoints that fail."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deepicd.rewards.judge import watch
from deepicd.run_layout import RunLayout
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
class Judged:
    """A finished run that started the judge's server."""

    layout: RunLayout
    output: str
    exit_code: int
    left_behind: list[str]


@dataclass
class Home:
    """Folder of tables with a canary in each note, and of a model that answers."""

    folder: Path

    @property
    def model(self) -> Path:
        """The policy at its start, and the judge."""
        return self.folder / "model"

    def start(self, folder: Path, judge: dict[str, Any], **stages: Any) -> DeepicdProcess:
        """Start a run in `folder/run`."""
        tables = self.folder / "tables"
        run = write_run(
            folder / "run.yaml", "judged", {"mimic": {"hosp": str(tables / "hosp"), "note": str(tables / "note")}},
            {"evaluate": None, **stages}, reward={"weights": {"judge": 0.2}, "judge": judge},
            model={"path": str(self.model), "dtype": "float32"},
        )  # fmt: skip
        return DeepicdProcess("run", str(run), "--dir", str(folder / "run"))


@pytest.fixture(scope="module")
def home(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("judged"))
    write_tables_with_canary(made.folder / "tables")
    made.model.mkdir()
    make_answering_model(cohort, made.model)
    return made


@pytest.fixture(scope="module")
def judged(home: Home) -> Judged:
    process = home.start(home.folder, {"model": str(home.model)}, **STAGES)
    process.wait_for_step("grpo", 1)
    tree = process.tree()
    code = process.finish()
    return Judged(RunLayout(home.folder / "run"), process.text, code, process.left_behind(tree))


def test_a_run_with_its_own_judge_is_done_and_leaves_no_server(judged: Judged) -> None:
    assert judged.exit_code == 0, judged.output[-3000:]
    assert judged.left_behind == []


def test_every_rollout_has_a_verdict_of_the_real_server(judged: Judged) -> None:
    grpo = judged.layout.stage("grpo")
    steps = watch.read(grpo.judged.read_text().splitlines())
    assert {step: sums.completions for step, sums in steps.items()} == {1: 16, 2: 16}
    assert sum(sums.missing for sums in steps.values()) == 0
    assert len((judged.layout.judge / "verdicts.jsonl").read_text().splitlines()) > 0


def test_the_validation_follows_the_judges_term(judged: Judged) -> None:
    validated = [row for row in all_steps(judged.layout.stage("grpo").metrics) if row.terms]
    assert validated
    for row in validated:
        assert 0 <= row.terms["judge"] <= 1
        assert row.terms["judge_missing"] == 0


def test_the_reward_of_the_evaluation_has_the_judge(judged: Judged) -> None:
    measured = json.loads(judged.layout.evaluation.metrics.read_text())
    for model in ("base", "grpo"):
        assert measured[model]["reward"]["name"] == "reward"
        assert 0 <= measured[model]["reward"]["terms"]["judge"]["value"] <= 1
    assert "conclusion_follows" in judged.layout.evaluation.report.read_text()


def test_no_note_text_leaves_the_judge(judged: Judged) -> None:
    assert CANARY not in judged.output
    kept = [path for path in judged.layout.evaluation.folder.rglob("*") if path.is_file()]
    kept += judged.layout.judge.iterdir()
    for stage in ("grpo", "evaluate"):
        place = judged.layout.stage(stage)
        kept += [place.log, place.judge_log, *place.metrics.iterdir()]
    assert len(kept) > 8
    for path in kept:
        assert CANARY.encode() not in path.read_bytes(), path


@pytest.mark.long
def test_a_judge_that_fails_ends_the_attempt_where_the_run_wants_it(home: Home, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: Reply(500, CANARY.encode())
        judge = {"endpoint": server.url, "name": MODEL, "onFailure": "fail"}
        process = home.start(tmp_path, judge, grpo=STAGES["grpo"])
        assert process.finish() == 75
    assert "verdicts are missing (reward.judge.maxFailures): server_error" in process.text
    assert CANARY not in process.text + (tmp_path / "run/stages/grpo/training.log").read_text()


@pytest.mark.long
def test_an_evaluation_whose_judge_is_down_reports_the_reward_without_it(home: Home, tmp_path: Path) -> None:
    with stub() as server:
        judge = {"endpoint": server.url, "name": MODEL}
    process = home.start(tmp_path, judge, evaluate=STAGES["evaluate"])
    assert process.finish() == 0
    assert "is called reward_without_judge" in process.text
    found = json.loads((tmp_path / "run/evaluate/metrics.json").read_text())["base"]["reward"]
    assert found["name"] == "reward_without_judge"
    assert "judge" not in found["terms"]
