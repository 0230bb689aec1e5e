"""Translates a RunSpec to verl's Hydra overrides."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepicd.spec.model import LoraSpec
from deepicd.spec.run import DeepICDRun
from deepicd.spec.training import GrpoSpec, SftSpec
from deepicd.training import reward_manager_path
from deepicd.training.device import device
from deepicd.training.losses import loss_settings
from deepicd.training.override_rules import with_file_logger
from deepicd.training.stage_files import StageFiles

PACKED = "deepicd_packed"
"""Our attention for packed sequences, as transformers knows it."""

Value = str | int | float | bool | None | list[str] | Path


@dataclass(frozen=True)
class TrainingData:
    """What a training stage reads."""

    train: Path
    """Parquet file with verl's columns."""
    validation: Path | None
    """Parquet file of the same form, or None if it is too small to be useful."""
    model: Path
    """Folder of the Hugging Face model to start from."""


def hydra_text(value: Value) -> str:
    """Write a value in Hydra's override grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(hydra_text(item) for item in value) + "]"
    if isinstance(value, Path):
        return _quoted(str(value))
    return str(value)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _write(settings: Mapping[str, Value]) -> list[str]:
    return [f"{key}={hydra_text(value)}" for key, value in settings.items()]


def attention(*, remove_padding: bool) -> str:
    """The attention for transformers; for packed sequences our engine chooses one that the device supports."""
    return PACKED if remove_padding else "sdpa"


def grpo_overrides(run: DeepICDRun, grpo: GrpoSpec, data: TrainingData, files: StageFiles) -> list[str]:
    """Overrides for `verl.trainer.main_ppo`; the ones of `stages.grpo.overrides` come last."""
    spec = run.spec
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    settings: dict[str, Value] = {
        "algorithm.adv_estimator": "grpo",
        "algorithm.use_kl_in_reward": grpo.kl_in_reward,
        "algorithm.kl_ctrl.kl_coef": grpo.kl_coefficient,
        "data.train_files": data.train,
        "data.val_files": data.validation or data.train,
        "data.val_max_samples": grpo.max_validation_admissions or -1,
        "data.train_batch_size": grpo.train_batch_size,
        "data.max_prompt_length": grpo.max_prompt_tokens,
        "data.max_response_length": grpo.max_response_tokens,
        # `prepare` has shortened the prompts with the model's own tokenizer: a longer one is an error, not dropped.
        "data.filter_overlong_prompts": False,
        "data.truncation": "error",
        "data.seed": spec.seed,
        "actor_rollout_ref.model.path": data.model,
        "+actor_rollout_ref.model.override_config.attn_implementation": attention(remove_padding=grpo.remove_padding),
        "actor_rollout_ref.model.use_remove_padding": grpo.remove_padding,
        "actor_rollout_ref.model.enable_gradient_checkpointing": grpo.gradient_checkpointing,
        f"{actor}.strategy": "fsdp2",
        f"{actor}.optim.lr": grpo.learning_rate,
        f"{actor}.optim.lr_warmup_steps": grpo.warmup_steps,
        f"{actor}.ppo_mini_batch_size": grpo.ppo_mini_batch_size,
        f"{actor}.ppo_micro_batch_size_per_gpu": grpo.micro_batch_size_per_gpu,
        **loss_settings(grpo),
        f"{actor}.entropy_coeff": grpo.entropy_coefficient,
        f"{actor}.use_kl_loss": grpo.kl_loss,
        f"{actor}.kl_loss_coef": grpo.kl_loss_coefficient,
        f"{actor}.use_torch_compile": grpo.torch_compile,
        f"{actor}.fsdp_config.use_torch_compile": grpo.torch_compile,
        f"{actor}.fsdp_config.param_offload": grpo.offload_parameters,
        f"{actor}.fsdp_config.optimizer_offload": grpo.offload_optimizer,
        f"{actor}.fsdp_config.seed": spec.seed,
        f"{actor}.data_loader_seed": spec.seed,
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": grpo.micro_batch_size_per_gpu,
        "actor_rollout_ref.ref.fsdp_config.use_torch_compile": grpo.torch_compile,
        "actor_rollout_ref.ref.fsdp_config.param_offload": grpo.offload_parameters,
        f"{rollout}.name": "vllm",
        f"{rollout}.n": grpo.rollouts,
        f"{rollout}.temperature": grpo.temperature,
        f"{rollout}.top_k": grpo.top_k,
        f"{rollout}.dtype": spec.model.dtype,
        f"{rollout}.seed": spec.seed,
        f"{rollout}.agent.default_agent_loop": "deepicd" if _seeds_completions(grpo) else "single_turn_agent",
        f"{rollout}.tensor_model_parallel_size": grpo.tensor_parallel,
        f"{rollout}.gpu_memory_utilization": grpo.gpu_memory_utilization,
        f"{rollout}.max_model_len": grpo.max_prompt_tokens + grpo.max_response_tokens,
        f"{rollout}.log_prob_micro_batch_size_per_gpu": grpo.micro_batch_size_per_gpu,
        # Greedy validation hides what sampling gains on a weak model.
        f"{rollout}.val_kwargs.do_sample": True,
        f"{rollout}.val_kwargs.temperature": grpo.temperature,
        f"{rollout}.val_kwargs.top_k": grpo.top_k,
        "reward.num_workers": 1,
        "reward.reward_manager.source": "importlib",
        "reward.reward_manager.name": "RewardManager",
        "reward.reward_manager.module.path": reward_manager_path(),
        **_trainer(run, files, nodes=spec.compute.nodes),
        "trainer.v1.trainer_mode": "deepicd",
        **_length(grpo.epochs, grpo.max_steps),
        "trainer.save_freq": grpo.save_every_steps,
        "trainer.test_freq": grpo.validate_every_steps if data.validation else -1,
        "trainer.val_before_train": data.validation is not None and files.checkpoints.last_step == 0,
        # verl would delete the last complete checkpoint before the new one is complete, so we delete it afterwards.
        "trainer.max_actor_ckpt_to_keep": None,
    }
    settings |= _adapters("actor_rollout_ref.model", f"{actor}.checkpoint", spec.model.lora)
    if spec.model.lora is not None:
        # vLLM reads the frozen weights itself, and gets only adapters from then on.
        settings[f"{rollout}.load_format"] = "auto"
    if grpo.max_tokens_per_gpu is not None:
        # The log-probabilities of policy and reference follow the actor's.
        settings |= {f"{actor}.use_dynamic_bsz": True, f"{actor}.ppo_max_token_len_per_gpu": grpo.max_tokens_per_gpu}
    several = spec.compute.nodes > 1
    if several:
        # RAY_ADDRESS names the cluster, whose nodes have none of our environment.
        settings["+ray_kwargs.ray_init.address"] = "auto"
    else:
        settings |= {"+ray_kwargs.ray_init.address": "local", "+ray_kwargs.ray_init.include_dashboard": False}
    overrides = _write(settings)
    if spec.model.dtype == "float32":
        # The reference policy too: in another format it would show a false KL.
        overrides += [f"+actor_rollout_ref.{part}.fsdp_config.mixed_precision={_FULL_PRECISION}" for part in ("actor", "ref")]
    overrides += device().grpo_overrides(grpo.max_prompt_tokens + grpo.max_response_tokens)
    overrides += [] if several else device().ray_overrides(spec.compute.gpus)
    return [*overrides, *with_file_logger(grpo.overrides)]


def _seeds_completions(grpo: GrpoSpec) -> bool:
    """Whether our agent loop, which gives each completion its own seed, takes the place of verl's."""
    return device().seeds_completions if grpo.reproducible == "auto" else grpo.reproducible == "always"


def worker_environment(environment: Mapping[str, str]) -> list[str]:
    """Overrides that give Ray's workers on all nodes these variables."""
    return [f"+ray_kwargs.ray_init.runtime_env.env_vars.{name}={_quoted(value)}" for name, value in environment.items()]


def worker_python(path: str) -> str:
    """Override that has Ray start its workers with this Python."""
    # Ray hands it to a shell.
    return f"+ray_kwargs.ray_init.runtime_env.py_executable={_quoted(shlex.quote(path))}"


def sft_overrides(run: DeepICDRun, sft: SftSpec, data: TrainingData, files: StageFiles) -> list[str]:
    """Overrides for verl's SFT trainer; the ones of `stages.sft.overrides` come last."""
    spec = run.spec
    settings: dict[str, Value] = {
        "data.train_files": data.train,
        "data.train_batch_size": sft.train_batch_size,
        "data.micro_batch_size_per_gpu": sft.micro_batch_size_per_gpu,
        "data.use_dynamic_bsz": sft.max_tokens_per_gpu is not None,
        "model.path": data.model,
        "+model.override_config.attn_implementation": attention(remove_padding=sft.remove_padding),
        "model.use_remove_padding": sft.remove_padding,
        "model.enable_gradient_checkpointing": sft.gradient_checkpointing,
        "engine": "fsdp",
        "engine.strategy": "fsdp2",
        "engine.use_torch_compile": sft.torch_compile,
        "engine.seed": spec.seed,
        "optim.lr": sft.learning_rate,
        "optim.lr_scheduler_type": sft.schedule,
        "optim.lr_warmup_steps": sft.warmup_steps,
        "optim.weight_decay": sft.weight_decay,
        # torchrun starts SFT only on this machine; GRPO, which takes most of the time, has all nodes.
        **_trainer(run, files, nodes=1),
        "trainer.seed": spec.seed,
        **_length(sft.epochs, sft.max_steps),
        "trainer.save_freq": sft.save_every_steps,
        "trainer.max_ckpt_to_keep": None,
    }
    settings |= _adapters("model", "checkpoint", spec.model.lora)
    if sft.max_tokens_per_gpu is not None:
        settings["data.max_token_len_per_gpu"] = sft.max_tokens_per_gpu
    overrides = _write(settings)
    if spec.model.dtype == "float32":
        overrides.append(f"+engine.mixed_precision={_FULL_PRECISION}")
    return [*overrides, *device().sft_overrides, *with_file_logger(sft.overrides)]


def _adapters(model: str, checkpoint: str, lora: LoraSpec | None) -> dict[str, Value]:
    """Settings of low-rank adapters; `model`, `checkpoint`: verl's sections."""
    if lora is None:
        return {}
    return {
        f"{model}.lora_rank": lora.rank,
        f"{model}.lora_alpha": lora.alpha,
        f"{model}.target_modules": list(lora.target_modules) or "all-linear",
        # The frozen weights are those of `model.path`.
        f"+{checkpoint}.save_lora_only": True,
    }


# Autocast follows this, not `dtype`.
_FULL_PRECISION = "{param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}"


def _trainer(run: DeepICDRun, files: StageFiles, *, nodes: int) -> dict[str, Value]:
    return {
        "trainer.project_name": "deepicd",
        "trainer.experiment_name": run.metadata.name,
        "trainer.default_local_dir": files.checkpoints.folder,
        "trainer.logger": ["file"],
        "trainer.resume_mode": "auto",
        "trainer.nnodes": nodes,
        "trainer.n_gpus_per_node": run.spec.compute.gpus,
        # Hydra's own log and output folder are not wanted.
        "hydra.run.dir": files.folder,
        "hydra.output_subdir": None,
        "hydra/job_logging": "none",
        "hydra/hydra_logging": "none",
    }


def _length(epochs: int, max_steps: int | None) -> dict[str, Value]:
    """`max_steps` overrides `epochs`: verl ends at whichever comes first, and an epoch has at least one step."""
    return {"trainer.total_training_steps": max_steps, "trainer.total_epochs": max_steps or epochs}
