"""Values that no dataclass of verl's refuses are refused by the function that uses them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from deepicd.spec.load import load
from deepicd.training.check import stage_overrides
from deepicd.training.override_trials import trials
from deepicd.training.verl_config import compose

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
CORRECTION, VLLM = "algorithm.rollout_correction", f"{ROLLOUT}.engine_kwargs.vllm"


@cache
def composed(sample: str, stage: str) -> Any:
    return compose(stage, stage_overrides(load(SAMPLES / f"{sample}.yaml"))[stage])


def refusals(stage: str, sample: str = "quickstart", **changes: Any) -> list[str]:
    """What the trials of a stage raise with verl's settings for a sample, some of them changed."""
    config = composed(sample, stage).copy()
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    raised = []
    for each in trials(stage):
        try:
            each(config)
        except Exception as error:
            raised.append(str(error))
    return raised


@pytest.mark.parametrize("sample", ["quickstart", "one-gpu", "deepicd-r1-7b"])
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_the_settings_of_the_samples_work(stage: str, sample: str) -> None:
    assert refusals(stage, sample) == []


@pytest.mark.parametrize(
    ("stage", "key", "value", "message"),
    [
        ("sft", "optim.betas", [0.9, 1.5], "Invalid beta parameter"),
        ("sft", "optim.optimizer_impl", "torch.optima", "Failed to import module 'torch.optima'"),
        ("sft", "engine.mixed_precision.param_dtype", "fp23", "unexpected precision: fp23"),
        ("grpo", f"{ACTOR}.optim.optimizer", "AdamV", "AdamV"),
        ("grpo", f"{ACTOR}.fsdp_config.model_dtype", "fp23", "unexpected precision: fp23"),
        ("grpo", "actor_rollout_ref.ref.fsdp_config.model_dtype", "fp23", "unexpected precision: fp23"),
        ("grpo", "algorithm.kl_ctrl.type", "adaptiv", "takes fixed or adaptive"),
        ("grpo", f"{ACTOR}.policy_loss.loss_mode", "dro", "dro_beta must be a positive value"),
        ("grpo", f"{ACTOR}.clip_ratio_c", 0.5, "clip_ratio_c"),
        ("grpo", f"{CORRECTION}.loss_type", "ppo", "takes ppo_clip or reinforce"),
        ("grpo", f"{CORRECTION}.rollout_is", "tokens", "Invalid rollout_is: tokens"),
        ("grpo", f"{CORRECTION}.rollout_rs", "token_k1", "rollout_rs_threshold must be explicitly provided"),
        ("grpo", "trainer.v1.sampler.max_off_policy_strategy", "keep", "Invalid max off policy strategy: keep"),
        ("grpo", f"{ROLLOUT}.temperature", 0, "validation gen temperature should be greater than 0"),
        ("grpo", f"{ROLLOUT}.top_p", 1.5, r"top_p must be in \(0, 1\]"),
        ("grpo", f"{ROLLOUT}.val_kwargs.top_k", -3, "top_k must be 0"),
        ("grpo", f"{ROLLOUT}.max_num_seqs", 0, "greater than or equal to 1"),
        ("grpo", f"{ROLLOUT}.max_num_batched_tokens", 16, "smaller than max_model_len"),
        ("grpo", f"{ROLLOUT}.gpu_memory_utilization", 1.5, "less than or equal to 1"),
        ("grpo", f"{ROLLOUT}.dtype", "float23", "vLLM refuses dtype: .*float23"),
        ("grpo", f"{ROLLOUT}.scheduling_policy", "lifo", "vLLM refuses scheduling_policy: .*lifo"),
        ("grpo", f"{VLLM}.block_size", "big", "vLLM refuses block_size: .*big"),
        ("grpo", f"{VLLM}.enforce_eagr", True, "no setting enforce_eagr: did you mean enforce.eager"),
    ],
)
def test_a_value_that_does_not_work_is_refused_without_a_run(stage: str, key: str, value: Any, message: str) -> None:
    assert re.search(message, "\n".join(refusals(stage, **{key: value})))


@pytest.mark.parametrize(
    "loss", ["vanilla", "gspo", "sapo", "gpg", "clip_cov", "kl_cov", "geo_mean", "cispo", "dppo_tv", "dppo_kl"]
)
def test_every_loss_of_verls_is_accepted(loss: str) -> None:
    assert refusals("grpo", **{f"{ACTOR}.policy_loss.loss_mode": loss}) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm.kl_ctrl.type": "adaptive"},
        {f"{ACTOR}.loss_agg_mode": "seq-mean-token-sum-norm", f"{ACTOR}.loss_scale_factor": 100},
        {f"{CORRECTION}.rollout_is": "token", f"{CORRECTION}.rollout_rs": "token_k1",
         f"{CORRECTION}.rollout_rs_threshold": "0.5_2.0"},
        {f"{ROLLOUT}.val_kwargs.do_sample": False, f"{ROLLOUT}.val_kwargs.temperature": 0},
        {"trainer.v1.sampler.max_off_policy_threshold": None},
        {f"{VLLM}.block_size": 32, f"{VLLM}.enforce-eager": True, f"{VLLM}.compilation_config": {"mode": 0}},
        {f"{ACTOR}.optim.optimizer": "SGD", f"{ACTOR}.fsdp_config.model_dtype": "bf16"},
    ],
)  # fmt: skip
def test_values_that_work_are_accepted(changes: dict[str, Any]) -> None:
    assert refusals("grpo", **changes) == []
