from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepicd.training.step_metrics import MetricsFile, all_steps, next_launch, read_step, step_seconds


def line(step: int, **data: float | None) -> str:
    return json.dumps({"step": step, "data": {name.replace("__", "/"): value for name, value in data.items()}})


def test_a_grpo_step_is_read_by_verls_names() -> None:
    step = read_step(line(3, critic__score__mean=0.5, actor__ppo_kl=0.01, actor__pg_loss=-0.1, timing_s__step=4.0))
    assert (step.step, step.reward, step.kl, step.loss, step.seconds) == (3, 0.5, 0.01, -0.1, 4.0)


@pytest.mark.parametrize("name", ["actor__kl_loss", "actor__reward_kl_penalty"])
def test_the_kl_to_the_reference_policy_comes_before_the_updates_kl(name: str) -> None:
    assert read_step(line(1, actor__ppo_kl=0.5, **{name: 0.02})).kl == 0.02


def test_a_grpo_step_has_the_shares_of_well_formed_and_truncated_completions() -> None:
    step = read_step(line(3, deepicd__well_formed=0.75, deepicd__truncated=0.25))
    assert (step.format_rate, step.truncated) == (0.75, 0.25)
    assert (step.to_json()["formatRate"], step.to_json()["truncated"]) == (0.75, 0.25)


def test_a_grpo_step_has_verls_diagnostics() -> None:
    data = {
        "actor/grad_norm": 0.5, "actor/entropy": 1.25, "actor/pg_clipfrac": 0.01, "training/rollout_probs_diff_mean": 2e-3,
        "deepicd/groups_without_variance": 0.25, "perf/total_num_tokens": 3000, "timing_s/step": 1.5, "perf/mfu/actor": 0.4,
        "deepicd/gpu_memory_gib": 61.5,
    }  # fmt: skip
    row = read_step(json.dumps({"step": 1, "data": data})).to_json()
    assert {name: row[name] for name in _DIAGNOSTICS} == {
        "gradientNorm": 0.5, "entropy": 1.25, "clipped": 0.01, "rolloutDifference": 2e-3, "groupsWithoutVariance": 0.25,
        "tokensPerSecond": 2000.0, "mfu": 0.4, "gpuMemory": 61.5,
    }  # fmt: skip


def test_an_sft_step_has_those_that_sft_has() -> None:
    data = {"train/grad_norm": 0.5, "train/global_tokens": 4000, "timing_s/step": 2.0, "train/mfu": 0.3}
    row = read_step(json.dumps({"step": 1, "data": data})).to_json()
    known = {name: row[name] for name in _DIAGNOSTICS if row[name] is not None}
    assert known == {"gradientNorm": 0.5, "tokensPerSecond": 2000.0, "mfu": 0.3}


_DIAGNOSTICS = (
    "gradientNorm", "entropy", "clipped", "rolloutDifference", "groupsWithoutVariance", "tokensPerSecond", "mfu", "gpuMemory",
)  # fmt: skip


@pytest.mark.parametrize("name", ["perf__mfu__actor", "train__mfu"])
def test_a_device_whose_peak_verl_does_not_know_has_no_mfu(name: str) -> None:
    assert read_step(line(1, **{name: 0.0})).mfu is None


def test_the_time_of_a_stages_steps_counts_repeated_ones_twice(tmp_path: Path) -> None:
    next_launch(tmp_path).write_text("".join(line(step, timing_s__step=2.0) + "\n" for step in (1, 2, 3)))
    next_launch(tmp_path).write_text(line(3, timing_s__step=1.0) + "\n" + line(3, val__loss=1.0) + "\n")
    assert step_seconds(tmp_path) == 7.0


def test_an_sft_step_has_a_loss_and_no_reward() -> None:
    step = read_step(line(3, train__loss=1.5))
    assert (step.loss, step.reward) == (1.5, None)


def test_validation_brings_the_sampled_reward_and_its_terms() -> None:
    data = {"val-core/mimic-iv/score/mean@1": 0.25, "val-aux/mimic-iv/reward_format/mean@1": 0.75}
    step = read_step(json.dumps({"step": 0, "data": data}))
    assert step.validation_reward == 0.25
    assert step.terms == {"format": 0.75}


def test_null_in_a_watched_metric_was_nan() -> None:
    assert read_step(line(1, train__loss=None)).not_finite == "train/loss"


def test_null_elsewhere_is_ignored() -> None:
    assert read_step(line(1, train__loss=1.0, perf__mfu=None)).not_finite is None


def test_a_line_is_read_once_and_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "launch.jsonl"
    file = MetricsFile(path)
    assert list(file.new_steps()) == []
    text = line(1, train__loss=1.0) + "\n" + line(2, train__loss=0.5) + "\n"
    path.write_text(text[:-10])
    assert [step.step for step in file.new_steps()] == [1]
    path.write_text(text)
    assert [step.step for step in file.new_steps()] == [2]


def test_a_step_done_again_after_a_resume_counts_once_as_last_done(tmp_path: Path) -> None:
    next_launch(tmp_path).write_text("".join(line(step, train__loss=1.0) + "\n" for step in (1, 2, 3, 4)))
    next_launch(tmp_path).write_text("".join(line(step, train__loss=2.0) + "\n" for step in (3, 4)))
    assert [(step.step, step.loss) for step in all_steps(tmp_path)] == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]


def test_a_validation_line_joins_the_step_it_follows(tmp_path: Path) -> None:
    next_launch(tmp_path).write_text(line(5, train__loss=0.0) + "\n" + line(5, val__loss=2.0) + "\n")
    [step] = all_steps(tmp_path)
    assert (step.loss, step.validation_loss) == (0.0, 2.0)


@pytest.mark.parametrize(
    ("data", "skipped"),
    [
        ('{"actor/grad_norm": null}', True),
        ('{"actor/grad_norm": 0.5}', False),
        ('{"train/grad_norm": null, "train/loss": 1.0}', True),
        ('{"val/loss": 1.0}', None),
    ],
)
def test_an_update_with_a_gradient_that_is_not_finite_is_known_as_skipped(data: str, skipped: bool | None) -> None:
    row = read_step(f'{{"step": 1, "data": {data}}}')
    assert (row.update_skipped, row.not_finite) == (skipped, None)


def test_a_validation_says_what_a_second_judge_thinks() -> None:
    data = {"deepicd/second_judge": 0.5, "deepicd/judges_agreed": 0.8, "deepicd/judges_kappa": None}
    row = read_step(json.dumps({"step": 4, "data": data}))
    assert (row.second_judge, row.judges_agreed, row.judges_kappa) == (0.5, 0.8, None)
    assert row.to_json()["secondJudge"] == 0.5


def test_distillation_says_what_was_kept_and_its_cost() -> None:
    data = {"distill/kept": 0.5, "distill/rate": 2.5, "distill/cost": 0.25, "distill/waiting": 3}
    row = read_step(json.dumps({"step": 7, "data": data}))
    assert (row.step, row.kept, row.rate, row.cost, row.waiting) == (7, 0.5, 2.5, 0.25, 3)
    assert read_step('{"step": 1, "data": {}}').waiting is None
