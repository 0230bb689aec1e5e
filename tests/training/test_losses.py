"""GRPO's losses, trained by the real stack for three steps each, and what each step leaves.

The one with everything also has a judge, on a real vLLM server that the run starts and ends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deepicd.cli.main import cli
from deepicd.data import mimic
from deepicd.rewards.judge import watch
from deepicd.run_layout import RunLayout, StageLayout
from deepicd.spec.data import SplitSpec
from deepicd.training import kept_rollouts
from deepicd.training.kept_rollouts import KeptRollout
from deepicd.training.step_metrics import all_steps, launches
from tests.mlflow_server import StandIn, stand_in
from tests.training.answering_model import make_answering_model
from tests.training.deepicd_process import DeepicdProcess
from tests.training.runs import CANARY, GRPO, write_run, write_tables_with_canary

pytestmark = [pytest.mark.training, pytest.mark.timeout(900)]
STEPS = 3
# Hot enough for the model, which has learned one answer, to spoil some of its completions.
GROUPS = {**GRPO, "maxSteps": STEPS, "temperature": 1.6, "validateEverySteps": 100, "keepRollouts": 6}
WEIGHTS = {"outcome": 0.5, "format": 0.1, "hierarchy": 0.3, "reasoning": 0.1, "judge": 0.2}
KL = {"klLoss": True, "klInReward": True, "klSchedule": "cosine"}


@dataclass
class Trained:
    """A run of GRPO."""

    process: DeepicdProcess
    folder: Path
    store: Path
    mlflow: StandIn
    left_behind: list[str] = field(default_factory=list)
    """Of a run with a judge."""

    @property
    def layout(self) -> RunLayout:
        return RunLayout(self.folder)

    @property
    def stage(self) -> StageLayout:
        return self.layout.stage("grpo")

    def metrics(self) -> list[dict[str, Any]]:
        """verl's metrics of each step, the validation before the first left out."""
        [launch] = launches(self.stage.metrics)
        return [row["data"] for row in map(json.loads, launch.read_text().splitlines()) if row["step"] > 0]

    def kept(self) -> dict[int, list[KeptRollout]]:
        folder = self.stage.rollouts
        return {step: list(kept_rollouts.read(folder, step)) for step in kept_rollouts.steps(folder)}


Train = Callable[..., Trained]


@pytest.fixture(scope="module")
def mlflow() -> Iterator[tuple[str, StandIn]]:
    with stand_in() as (address, served):
        yield address, served


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory, mlflow: tuple[str, StandIn]) -> Train:
    """Train a model that mostly gives one answer, on notes with a canary; trackers get the metrics."""
    address, served = mlflow
    tracking = {"mlflow": {"uri": address, "experiment": "losses"}, "tensorboard": {}}
    home = tmp_path_factory.mktemp("losses")
    write_tables_with_canary(home / "tables", admissions=200)
    mimic.extract(home / "tables" / "hosp", home / "tables" / "note", home / "cohort", SplitSpec())
    model = make_answering_model(home / "cohort", home / "model")

    def run(name: str, *, judged: bool = False, **grpo: Any) -> Trained:
        stages = {"grpo": {**GROUPS, **grpo}, "evaluate": None}
        storage = {"folder": str(home / "store" / name)}
        spec = {"model": {"path": str(model), "dtype": "float32"}, "storage": storage, "tracking": tracking}
        if judged:
            spec["reward"] = {"weights": {"judge": WEIGHTS["judge"]}, "judge": {"model": str(model)}}
        file = write_run(home / f"{name}.yaml", name, {"prepared": str(home / "cohort")}, stages, **spec)
        process = DeepicdProcess("run", str(file), "--dir", str(home / name))
        trained = Trained(process, home / name, home / "store" / name, served)
        if judged:
            process.wait_for_step("grpo", 1)
            tree = process.tree()
        process.finish()
        if judged:
            trained.left_behind = process.left_behind(tree)
        return trained

    return run


@pytest.fixture(scope="module")
def whole(train: Train) -> Trained:
    """A run with a judge and everything that changes the loss."""
    return train(
        "whole", judged=True, loss="dr_grpo", dropGroupsWithoutVariance=True,
        overlongPenalty={"tokens": 20, "penalty": 0.5}, **KL,
    )  # fmt: skip


def test_a_run_with_everything_that_changes_the_loss_trains(whole: Trained) -> None:
    assert whole.process.process.returncode == 0, whole.process.text[-2000:]
    assert whole.process.steps("grpo")[-1] == STEPS


def test_the_judges_server_ends_with_the_stage(whole: Trained) -> None:
    assert whole.left_behind == []


def test_every_rollout_has_a_verdict_of_the_real_server(whole: Trained) -> None:
    steps = watch.read(whole.stage.judged.read_text().splitlines())
    # Also those of groups that were dropped.
    assert {step for step, sums in steps.items() if sums.completions >= 16} == set(range(1, STEPS + 1))
    assert sum(sums.missing for sums in steps.values()) == 0
    assert len((whole.layout.judge / "verdicts.jsonl").read_text().splitlines()) > 0


def test_the_validation_follows_the_judges_term(whole: Trained) -> None:
    validated = [row for row in all_steps(whole.stage.metrics) if row.terms]
    assert validated
    for row in validated:
        assert 0 <= row.terms["judge"] <= 1
        assert row.terms["judge_missing"] == 0


def test_no_group_without_variance_is_trained_on(whole: Trained) -> None:
    groups: dict[tuple[int, str], set[float]] = {}
    for step, rollouts in whole.kept().items():
        for one in rollouts[:4]:  # the first group is whole
            groups.setdefault((step, one.id), set()).add(one.reward)
    assert len(groups) == STEPS
    assert all(len(rewards) > 1 for rewards in groups.values())


def test_the_kls_coefficients_fall_to_zero(whole: Trained) -> None:
    for name in ("actor/kl_coef", "actor/reward_kl_penalty_coeff"):
        assert [row[name] for row in whole.metrics()] == pytest.approx([0.001, 0.0005, 0], abs=1e-9)


def test_a_long_completions_reward_has_its_penalty(whole: Trained) -> None:
    rollouts = [one for step in whole.kept().values() for one in step]
    for one in rollouts:
        score = sum(weight * one.terms[name] for name, weight in WEIGHTS.items())
        assert one.reward == pytest.approx(score - 0.5 * max(0, one.tokens - 4) / 20, abs=1e-5)
    assert any(one.tokens > 4 for one in rollouts)


def test_a_step_has_every_diagnostic_that_a_cpu_can_have(whole: Trained) -> None:
    last = [line for line in whole.process.lines if line.get("event") == "step" and line["stage"] == "grpo"][-1]
    shares = ("truncated", "groups_without_variance", "clipped", "format_rate")
    assert all(0 <= last[name] <= 1 for name in shares)
    assert all(last[name] > 0 for name in ("gradient_norm", "entropy", "tokens_per_second", "response_tokens"))
    assert last["rollout_difference"] >= 0
    assert not {"mfu", "gpu_memory", "gpu_hours", "gpu_hours_left"} & last.keys()


def test_the_entropy_is_that_of_a_token(whole: Trained) -> None:
    # One of the 600 tokens, whatever the length that verl divides by.
    assert all(0.01 < row["actor/entropy"] < 6.4 for row in whole.metrics())


def test_each_steps_first_completions_are_kept_with_their_notes(whole: Trained) -> None:
    kept = whole.kept()
    assert [(step, len(rollouts)) for step, rollouts in kept.items()] == [(step, 6) for step in range(1, STEPS + 1)]
    assert all(CANARY in one.prompt for one in kept[1])
    assert [one.rollout for one in kept[1]] == [0, 1, 2, 3, 0, 1]


def test_kept_completions_are_shown(whole: Trained) -> None:
    shown = CliRunner().invoke(cli, ["samples", str(whole.folder), "--step", "2"]).output
    assert f"step 2, admission {whole.kept()[2][0].id}" in shown
    assert CANARY in shown


def test_kept_completions_are_nowhere_else(whole: Trained) -> None:
    assert CANARY not in whole.process.text
    written = [whole.stage.log, whole.stage.judge_log, *whole.layout.judge.iterdir(), *whole.stage.metrics.iterdir()]
    assert len(written) >= 4
    for path in written:
        assert CANARY.encode() not in path.read_bytes(), path
    assert CANARY not in "".join(whole.mlflow.requests)
    events = list((whole.folder / "tensorboard" / "grpo").glob("events.*"))
    assert events
    assert not [path for path in events if CANARY.encode() in path.read_bytes()]
    names = [path.name for path in whole.store.rglob("*") if path.is_file()]
    assert any(name.startswith("launch-") for name in names)
    assert not [name for name in names if name.endswith(".parquet")]


def test_mlflow_gets_each_step(whole: Trained) -> None:
    run = next(run for run in whole.mlflow.runs.values() if run["info"]["run_name"] == "whole")
    assert [row["step"] for row in run["history"] if row["key"] == "grpo/entropy"] == list(range(1, STEPS + 1))
    assert run["info"]["status"] == "FINISHED"
    assert {"key": "stages.grpo.loss", "value": "dr_grpo"} in run["data"]["params"]


@pytest.mark.long
def test_a_step_that_finds_no_group_with_variance_ends_the_run(train: Train) -> None:
    # Whatever the model writes, its reward is that of an answer which was cut off.
    failed = train("alike", dropGroupsWithoutVariance=True, maxResponseTokens=4)
    assert failed.process.process.returncode == 64
    assert "stages.grpo.dropGroupsWithoutVariance: " in failed.process.text


@pytest.mark.long
@pytest.mark.parametrize("loss", ["dapo", "gspo"])
def test_the_other_losses_train_without_seeds(loss: str, train: Train) -> None:
    trained = train(loss, loss=loss, reproducible="never")
    assert trained.process.process.returncode == 0, trained.process.text[-2000:]
    assert trained.process.steps("grpo")[-1] == STEPS
    assert all(row["actor/grad_norm"] > 0 for row in trained.metrics())
