"""The overrides are compared with verl's own, composed configuration."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from deepicd.spec.load import dump, load, parse
from deepicd.spec.run import DeepICDRun
from deepicd.training import overrides
from deepicd.training.check import stage_overrides
from deepicd.training.device import Device
from deepicd.training.overrides import hydra_text, worker_environment, worker_python
from deepicd.training.verl_config import compose

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"

# The model card's table, and the job settings published beside it (verl's keys).
CARD_GRPO = {
    "algorithm.adv_estimator": "grpo",
    "data.train_batch_size": 64,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 4,  # the card has 16: more than 80 GB hold
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "actor_rollout_ref.actor.optim.lr_warmup_steps": 80,
    "trainer.total_epochs": 1,
    "data.max_prompt_length": 2048,
    "data.max_response_length": 1024,
    "actor_rollout_ref.rollout.name": "vllm",
    "actor_rollout_ref.rollout.n": 8,
    "actor_rollout_ref.rollout.temperature": 0.9,
    "actor_rollout_ref.rollout.top_k": -1,
    "actor_rollout_ref.rollout.dtype": "bfloat16",
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
    "actor_rollout_ref.rollout.gpu_memory_utilization": 0.4,
    "actor_rollout_ref.actor.entropy_coeff": 0.001,
    "algorithm.kl_ctrl.kl_coef": 0.001,
    "algorithm.use_kl_in_reward": False,
    "actor_rollout_ref.actor.use_kl_loss": False,
    "actor_rollout_ref.model.enable_gradient_checkpointing": True,
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile": True,
    "actor_rollout_ref.actor.fsdp_config.param_offload": False,
    "actor_rollout_ref.actor.fsdp_config.optimizer_offload": False,
    "actor_rollout_ref.model.use_remove_padding": True,
    "trainer.n_gpus_per_node": 4,
    "trainer.nnodes": 1,
    "trainer.save_freq": 50,
    "trainer.test_freq": 100,
    # The card has True and right: `prepare` has shortened what these would leave out or cut.
    "data.filter_overlong_prompts": False,
    "data.truncation": "error",
}
CARD_SFT = {
    "optim.lr": 2e-5,
    "optim.lr_scheduler_type": "cosine",
    "optim.lr_warmup_steps": 100,
    "optim.weight_decay": 0.01,
    "trainer.total_epochs": 1,
    "data.micro_batch_size_per_gpu": 4,  # the card has 8
    "data.train_batch_size": 32,
}


@pytest.fixture
def on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the GPU image, where the CPU build of vLLM is not installed."""
    monkeypatch.setattr(overrides, "device", Device)


def composed(run: DeepICDRun, stage: str) -> Any:
    return compose(stage, stage_overrides(run)[stage])


@pytest.mark.usefixtures("on_gpus")
@pytest.mark.parametrize(("stage", "card"), [("grpo", CARD_GRPO), ("sft", CARD_SFT)])
def test_an_empty_stage_is_the_model_cards_training(stage: str, card: dict[str, Any]) -> None:
    config = composed(load(SAMPLES / "deepicd-r1-7b.yaml"), stage)
    assert {key: OmegaConf.select(config, key) for key in card} == card


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_the_quickstart_fits_verls_configuration(stage: str) -> None:
    assert composed(load(SAMPLES / "quickstart.yaml"), stage).trainer.n_gpus_per_node == 1


@pytest.mark.usefixtures("on_gpus")
def test_no_cpu_setting_reaches_a_gpu_run() -> None:
    assert not [item for item in stage_overrides(load(SAMPLES / "deepicd-r1-7b.yaml"))["grpo"] if "cpu" in item]


@pytest.mark.parametrize("tokens", [80, 6000])
def test_a_prompt_is_never_cut_in_chunks_on_a_cpu(tokens: int) -> None:
    content = yaml.safe_load((SAMPLES / "quickstart.yaml").read_text())
    content["spec"]["stages"]["grpo"]["maxResponseTokens"] = tokens
    rollout = composed(parse(content, "run.yaml"), "grpo").actor_rollout_ref.rollout
    assert not rollout.enable_chunked_prefill
    assert rollout.max_num_batched_tokens >= rollout.max_model_len


def test_several_nodes_join_the_existing_cluster_and_give_it_our_environment() -> None:
    run = load(SAMPLES / "deepicd-r1-7b.yaml")
    content = yaml.safe_load(dump(run))
    content["spec"]["compute"] |= {"nodes": 2, "scratch": {"storageClass": "shared"}}
    overrides = stage_overrides(parse(content, "run.yaml"))
    joined = compose("grpo", [*overrides["grpo"], *worker_environment({"VERL_USE_EXTERNAL_MODULES": "a,b", "EMPTY": ""})])
    ray_init = OmegaConf.to_container(joined.ray_kwargs.ray_init)
    assert (joined.trainer.nnodes, joined.trainer.n_gpus_per_node) == (2, 4)
    # Ray refuses the size of a cluster from whoever joins it.
    assert (ray_init["address"], ray_init["num_cpus"], "num_gpus" in ray_init) == ("auto", None, False)
    assert ray_init["runtime_env"]["env_vars"] == {"VERL_USE_EXTERNAL_MODULES": "a,b", "EMPTY": ""}
    assert compose("sft", overrides["sft"]).trainer.nnodes == 1


def test_rays_workers_start_with_a_python_whatever_its_path_holds() -> None:
    path = "/a folder/it's/python"
    overrides = stage_overrides(load(SAMPLES / "quickstart.yaml"))["grpo"]
    runtime_env = compose("grpo", [*overrides, worker_python(path)]).ray_kwargs.ray_init.runtime_env
    assert shlex.split(runtime_env.py_executable) == [path]


def with_overrides(stage: str, *overrides: str) -> DeepICDRun:
    content = yaml.safe_load((SAMPLES / "quickstart.yaml").read_text())
    content["spec"]["stages"][stage]["overrides"] = list(overrides)
    return parse(content, "run.yaml")


def test_an_override_of_the_user_wins() -> None:
    assert (
        composed(with_overrides("grpo", "actor_rollout_ref.actor.optim.lr=0.5"), "grpo").actor_rollout_ref.actor.optim.lr == 0.5
    )


def test_batches_by_tokens_are_those_of_every_forward_pass() -> None:
    content = yaml.safe_load((SAMPLES / "quickstart.yaml").read_text())
    for stage in ("sft", "grpo"):
        content["spec"]["stages"][stage]["maxTokensPerGpu"] = 5000
    run = parse(content, "run.yaml")
    sft, grpo = (composed(run, stage) for stage in ("sft", "grpo"))
    assert (sft.data.use_dynamic_bsz, sft.data.max_token_len_per_gpu) == (True, 5000)
    parts = grpo.actor_rollout_ref
    assert (parts.actor.use_dynamic_bsz, parts.actor.ppo_max_token_len_per_gpu) == (True, 5000)
    for part in (parts.rollout, parts.ref):
        assert (part.log_prob_use_dynamic_bsz, part.log_prob_max_token_len_per_gpu) == (True, 5000)


@pytest.mark.parametrize("stage", ["sft", "grpo"])
@pytest.mark.parametrize(
    ("value", "loggers"),
    [
        ("[console]", ["file", "console"]),
        ("[wandb,file]", ["file", "wandb"]),
        ("mlflow", ["file", "mlflow"]),
        ("null", ["file"]),
    ],
)
def test_the_file_that_deepicd_follows_is_always_written(stage: str, value: str, loggers: list[str]) -> None:
    run = with_overrides(stage, f"trainer.logger={value}")
    assert composed(run, stage).trainer.logger == loggers


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "True"), (1e-6, "1e-06"), (["a", "b"], "[a,b]"), (Path("/a b/it's"), r"'/a b/it\'s'")],
)
def test_values_are_written_in_hydras_grammar(value: Any, text: str) -> None:
    assert hydra_text(value) == text


@pytest.mark.parametrize("targets", [[], ["q_proj", "v_proj"]])
def test_adapters_are_verls_in_both_stages(targets: list[str]) -> None:
    content = yaml.safe_load((SAMPLES / "one-gpu.yaml").read_text())
    content["spec"]["model"]["lora"] = {"rank": 8, "alpha": 24, "targetModules": targets}
    run = parse(content, "run.yaml")
    for stage, model, checkpoint in (
        ("sft", "model", "checkpoint"), ("grpo", "actor_rollout_ref.model", "actor_rollout_ref.actor.checkpoint"),
    ):  # fmt: skip
        config = composed(run, stage)
        section = OmegaConf.select(config, model)
        assert (section.lora_rank, section.lora_alpha, section.target_modules) == (8, 24, targets or "all-linear")
        assert OmegaConf.select(config, checkpoint).save_lora_only is True
    assert composed(run, "grpo").actor_rollout_ref.rollout.load_format == "auto"


def test_without_adapters_all_weights_are_trained_and_sent() -> None:
    run = load(SAMPLES / "deepicd-r1-7b.yaml")
    config = composed(run, "grpo").actor_rollout_ref
    assert config.model.lora_rank == 0
    assert config.rollout.load_format == "dummy"


@pytest.mark.parametrize(("remove_padding", "attention"), [(True, "deepicd_packed"), (False, "sdpa")])
def test_packed_sequences_get_the_attention_that_the_device_has(remove_padding: bool, attention: str) -> None:
    content = yaml.safe_load((SAMPLES / "one-gpu.yaml").read_text())
    for stage in ("sft", "grpo"):
        content["spec"]["stages"][stage]["removePadding"] = remove_padding
    run = parse(content, "run.yaml")
    assert composed(run, "sft").model.override_config.attn_implementation == attention
    assert composed(run, "grpo").actor_rollout_ref.model.override_config.attn_implementation == attention
