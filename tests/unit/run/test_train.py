from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import save_file
from structlog.testing import capture_logs

from deepicd.errors import UserError
from deepicd.rewards import Score
from deepicd.rewards.judge import watch
from deepicd.rewards.judge.rollout import Scored
from deepicd.run import train
from deepicd.run.train import ends_on_collapse, grpo_command, sft_command, train_grpo, train_sft, watches_the_judge
from deepicd.spec.load import load, parse
from deepicd.spec.recovery import RewardCollapseSpec
from deepicd.spec.run import DeepICDRun
from deepicd.training.cpu.device import Cpus
from deepicd.training.device import Device
from deepicd.training.launch import GuardedProcess
from deepicd.training.overrides import TrainingData
from deepicd.training.reward_collapse import RewardWatch
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import StepMetrics
from deepicd.training.supervise import RayStartError
from tests.unit.stops import NeverStop

FORK_SERVER = "deepicd.training.cpu.fork_server"
QUICKSTART = Path(__file__).parents[3] / "manifests" / "samples" / "quickstart.yaml"


def ignore(row: StepMetrics, total: int | None) -> None:
    pass


def rows(path: Path, count: int) -> TrainingData:
    pq.write_table(pa.table({"code": ["M5116"] * count}), path / "train.parquet")
    return TrainingData(path / "train.parquet", None, path / "model")


def validated(validation: dict[str, Any]) -> DeepICDRun:
    """The quickstart with a validation of SFT."""
    content = yaml.safe_load(QUICKSTART.read_text())
    content["spec"]["stages"]["sft"]["validation"] = validation
    return parse(content, "run.yaml")


def test_less_than_one_batch_of_traces_is_for_the_user_to_fix(tmp_path: Path) -> None:
    run = load(QUICKSTART)
    assert run.spec.stages.sft is not None
    with pytest.raises(UserError, match=r"spec\.stages\.sft\.trainBatchSize: 16 is more than the 15 training examples"):
        train_sft(run, QUICKSTART, run.spec.stages.sft, rows(tmp_path, 15), tmp_path / "sft", NeverStop(), ignore)


@pytest.mark.parametrize(
    ("share", "count", "message"),
    [
        (
            0.05,
            100,
            r"heldOut: \d+ of 100 examples are held out, less than one batch of 16 .trainBatchSize.: raise it, or give",
        ),
        (0.5, 33, r"heldOut: \d+ of 33 examples are left to learn from, less than one batch of 16 .trainBatchSize.: lower it"),
    ],
)
def test_less_than_one_batch_held_out_or_left_is_for_the_user_to_fix(
    tmp_path: Path, share: float, count: int, message: str
) -> None:
    run = validated({"heldOut": share})
    data = rows(tmp_path, count)
    # Patients by their numbers: of the first 33 more than half are held out with this seed.
    pq.write_table(pa.table({"subject_id": [str(patient) for patient in range(count)]}), data.train)
    assert run.spec.stages.sft is not None
    with pytest.raises(UserError, match=message):
        train_sft(run, QUICKSTART, run.spec.stages.sft, data, tmp_path / "sft", NeverStop(), ignore)


def test_examples_of_an_earlier_version_cannot_be_held_out_by_patient(tmp_path: Path) -> None:
    run = validated({})
    assert run.spec.stages.sft is not None
    with pytest.raises(UserError, match=r"train\.parquet: has no patients, an earlier version made it: remove"):
        train_sft(run, QUICKSTART, run.spec.stages.sft, rows(tmp_path, 99), tmp_path / "sft", NeverStop(), ignore)


def test_less_than_one_batch_of_prompts_is_for_the_user_to_fix(tmp_path: Path) -> None:
    run = load(QUICKSTART)
    assert run.spec.stages.grpo is not None
    with pytest.raises(UserError, match=r"spec\.stages\.grpo\.trainBatchSize: 16 is more than the 15 training examples"):
        train_grpo(run, QUICKSTART, run.spec.stages.grpo, rows(tmp_path, 15), tmp_path / "grpo", NeverStop(), ignore)


def test_a_disk_without_room_for_grpo_is_refused_before_hours_of_sft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load(QUICKSTART)
    sft, grpo = run.spec.stages.sft, run.spec.stages.grpo
    assert sft is not None
    assert grpo is not None
    stages = run.spec.stages.model_copy(update={"grpo": grpo.model_copy(update={"keep_checkpoints": 9})})
    several = run.model_copy(update={"spec": run.spec.model_copy(update={"stages": stages})})
    data = rows(tmp_path, 99)
    data.model.mkdir()
    save_file({"embed_tokens.weight": numpy.zeros((1000, 1000), numpy.float32)}, data.model / "model.safetensors")
    monkeypatch.setattr(train, "room_for", lambda folder, scratch: 100_000_000)  # SFT: 3 checkpoints of 12 MB
    with pytest.raises(UserError, match=r"0\.1 GB are free, and GRPO, after this stage, writes 0\.1 GB, with checkpoints of"):
        train_sft(several, QUICKSTART, sft, data, tmp_path / "sft", NeverStop(), ignore)


def test_more_gpus_than_there_are_is_for_the_user_to_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "device", Device)
    run = load(QUICKSTART)
    many = run.model_copy(
        update={"spec": run.spec.model_copy(update={"compute": run.spec.compute.model_copy(update={"gpus": 16})})}
    )
    assert run.spec.stages.grpo is not None
    with pytest.raises(UserError, match=r"spec\.compute\.gpus: 16 wanted"):
        train_grpo(many, QUICKSTART, run.spec.stages.grpo, rows(tmp_path, 99), tmp_path / "grpo", NeverStop(), ignore)


@pytest.mark.parametrize(("cpus", "nodes", "forked"), [(True, 1, True), (True, 2, False), (False, 1, False), (False, 2, False)])
def test_processes_are_forks_on_cpus_of_one_node_only(
    cpus: bool, nodes: int, forked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "device", Cpus if cpus else Device)
    run = load(QUICKSTART)
    compute = run.spec.compute.model_copy(update={"nodes": nodes})
    placed = run.model_copy(update={"spec": run.spec.model_copy(update={"compute": compute})})
    assert run.spec.stages.grpo is not None
    command = grpo_command(placed, run.spec.stages.grpo, rows(tmp_path, 99), StageFiles(tmp_path / "grpo"))
    assert sys.executable in command
    assert command[command.index("deepicd.training.grpo_main") - 1] == "-m"
    assert (FORK_SERVER in command, any("py_executable" in each for each in command)) == (forked, forked)


def judged(steps: int, judge: float) -> str:
    """Lines of a judge's log whose mean rises by `judge` while a third of the answers is right."""
    lines = []
    for number in range(steps):
        sums = watch.StepSums()
        for place in range(3):
            terms = {"judge": 0.2 + judge * number / steps, "judge_missing": 0.0}
            sums.add(Scored(Score(0, terms), place == 0), [])
        lines.append(watch.to_json("train", number + 1, sums) + "\n")
    return "".join(lines)


def test_a_judge_that_alone_rises_is_warned_of_once_and_reported_with_each_step(tmp_path: Path) -> None:
    seen: list[StepMetrics] = []
    log = tmp_path / "judge.jsonl"
    act = watches_the_judge(log, lambda row, total: seen.append(row))
    with capture_logs() as warned:
        for step in range(1, 21):
            log.write_text(judged(step, 0.6))
            act(StepMetrics(step), 20)
    assert [row.step for row in seen if row.judge_trend is not None] == list(range(10, 21))
    assert seen[-1].judge_trend is not None
    assert seen[-1].judge_trend.diverged
    assert [line["step"] for line in warned] == [10]
    assert "the judge's mean rose from" in warned[0]["event"]


def test_a_judge_that_does_not_rise_is_reported_without_a_warning(tmp_path: Path) -> None:
    seen: list[StepMetrics] = []
    act = watches_the_judge(tmp_path / "judge.jsonl", lambda row, total: seen.append(row))
    act(StepMetrics(5), 20)
    (tmp_path / "judge.jsonl").write_text(judged(20, 0.0))
    with capture_logs() as warned:
        act(StepMetrics(20), 20)
    assert seen[0].judge_trend is None
    assert seen[1].judge_trend is not None
    assert not seen[1].judge_trend.diverged
    assert warned == []


class Ray:
    """The training stack at its start: its node dies at each one before a given one, which trains."""

    def __init__(self, starts_at: int) -> None:
        self.starts, self._starts_at = 0, starts_at

    def supervise(self, process: GuardedProcess, files: StageFiles, metrics: Path, **of: object) -> None:
        process.wait()
        self.starts += 1
        if self.starts < self._starts_at:
            raise RayStartError("the process raylet died")
        weights = files.checkpoints.of(1) / "actor" / "huggingface" / "model.safetensors"
        weights.parent.mkdir(parents=True)
        weights.touch()
        files.checkpoints.set_last_step(1)


def train_with(ray: Ray, folder: Path, monkeypatch: pytest.MonkeyPatch) -> StageFiles:
    files = StageFiles(folder / "grpo")
    monkeypatch.setattr(train, "grpo_command", lambda *of: ["true"])
    monkeypatch.setattr(train, "supervise", ray.supervise)
    run = load(QUICKSTART)
    assert run.spec.stages.grpo is not None
    train_grpo(run, QUICKSTART, run.spec.stages.grpo, rows(folder, 99), files.folder, NeverStop(), ignore)
    return files


def test_ray_is_restarted_if_its_node_dies_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = train_with(Ray(starts_at=3), tmp_path, monkeypatch)
    assert (files.model / "model.safetensors").exists()


def test_a_ray_that_never_starts_ends_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Ray(starts_at=4)
    with pytest.raises(RayStartError, match="the process raylet died"):
        train_with(ray, tmp_path, monkeypatch)
    assert ray.starts == 3


@pytest.mark.parametrize("cpus", [True, False])
def test_ranks_of_sft_are_forks_on_cpus(cpus: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "device", Cpus if cpus else Device)
    run = load(QUICKSTART)
    assert run.spec.stages.sft is not None
    assert (FORK_SERVER in sft_command(run, run.spec.stages.sft, rows(tmp_path, 99), StageFiles(tmp_path / "sft"))) == cpus


def test_a_collapsed_reward_ends_the_stage_after_its_step_was_reported() -> None:
    seen: list[int] = []
    watch = RewardWatch(RewardCollapseSpec(window=2, drop=0.2))
    act = ends_on_collapse(watch, lambda row, total: seen.append(row.step))
    for step, reward in enumerate((0.5, 0.6, 0.6, 0.5, 0.3), start=1):
        act(StepMetrics(step=step, reward=reward), 10)
    with pytest.raises(
        UserError, match=r"the reward collapsed at step 6 \(recovery.rewardCollapse\): mean reward of the last 2"
    ):
        act(StepMetrics(step=6, reward=0.1), 10)
    assert seen == [1, 2, 3, 4, 5, 6]
