"""verl's settings that DeepICD sets itself, each with the field of run.yaml to use instead ("" if there is none)."""

from __future__ import annotations

_TRAINER = {
    "hydra": "",
    "trainer.default_local_dir": "",
    "trainer.default_hdfs_dir": "storage",
    "trainer.resume_mode": "",
    "trainer.resume_from_path": "",
    "trainer.nnodes": "compute.nodes",
    "trainer.n_gpus_per_node": "compute.gpus",
    "trainer.device": "",
    "trainer.total_epochs": "stages.{stage}.epochs",
    "trainer.total_training_steps": "stages.{stage}.maxSteps",
    "trainer.save_freq": "stages.{stage}.saveEverySteps",
    "data.train_files": "data",
    "data.val_files": "data",
    "data.train_batch_size": "stages.{stage}.trainBatchSize",
    "data.custom_cls": "",
}
_LORA = {"lora_rank": "rank", "lora_alpha": "alpha", "target_modules": "targetModules", "lora": "", "lora_adapter_path": ""}
_SFT = {
    **{f"model.{name}": f"model.lora.{field}".rstrip(".") for name, field in _LORA.items()},
    "trainer.test_freq": "stages.sft.validation",
    "trainer.max_ckpt_to_keep": "stages.sft.keepCheckpoints",
    "trainer.seed": "seed",
    "checkpoint": "",
    "engine.strategy": "",
    "data.micro_batch_size_per_gpu": "stages.sft.microBatchSizePerGpu",
    "data.use_dynamic_bsz": "stages.sft.maxTokensPerGpu",
    "data.max_token_len_per_gpu": "stages.sft.maxTokensPerGpu",
    "data.max_length": "stages.sft.maxTokens",
    "data.truncation": "",
    "data.pad_mode": "",
    "data.messages_key": "",
    "data.apply_chat_template_kwargs": "model.path",
    "model.path": "model.path",
    "model.tokenizer_path": "model.path",
    "model.hf_config_path": "model.path",
    "model.custom_chat_template": "model.path",
}
_MODEL, _ACTOR, _ROLLOUT, _REF = (f"actor_rollout_ref.{part}" for part in ("model", "actor", "rollout", "ref"))
# These would write notes to a folder, a log or a tracker.
_SHOWS_NOTES = {
    "trainer.log_val_generations": "stages.grpo.keepRollouts",
    "trainer.rollout_data_dir": "stages.grpo.keepRollouts",
    "trainer.validation_data_dir": "stages.grpo.keepRollouts",
    f"{_ROLLOUT}.trace": "",
}
_GRPO = {
    **_SHOWS_NOTES,
    **{f"{_MODEL}.{name}": f"model.lora.{field}".rstrip(".") for name, field in _LORA.items()},
    "trainer.test_freq": "stages.grpo.validateEverySteps",
    "trainer.val_before_train": "",
    "trainer.val_only": "stages.evaluate",
    "trainer.max_actor_ckpt_to_keep": "stages.grpo.keepCheckpoints",
    "trainer.max_critic_ckpt_to_keep": "stages.grpo.keepCheckpoints",
    "trainer.use_v1": "",
    "trainer.v1.trainer_mode": "",
    "data.max_prompt_length": "stages.grpo.maxPromptTokens",
    "data.max_response_length": "stages.grpo.maxResponseTokens",
    "data.filter_overlong_prompts": "",
    "data.truncation": "",
    "data.prompt_key": "",
    "data.reward_fn_key": "",
    "data.val_max_samples": "stages.grpo.maxValidationAdmissions",
    "data.seed": "seed",
    "data.return_raw_chat": "",
    "data.apply_chat_template_kwargs": "model.path",
    f"{_MODEL}.path": "model.path",
    f"{_MODEL}.tokenizer_path": "model.path",
    f"{_MODEL}.hf_config_path": "model.path",
    f"{_MODEL}.custom_chat_template": "model.path",
    f"{_ACTOR}.checkpoint": "",
    "model_engine": "",
    **dict.fromkeys((f"{_ACTOR}.strategy", f"{_ACTOR}.fsdp_config.strategy", f"{_REF}.strategy"), ""),
    f"{_ACTOR}.ppo_mini_batch_size": "stages.grpo.ppoMiniBatchSize",
    f"{_ACTOR}.ppo_micro_batch_size": "stages.grpo.microBatchSizePerGpu",
    f"{_ACTOR}.ppo_micro_batch_size_per_gpu": "stages.grpo.microBatchSizePerGpu",
    f"{_ACTOR}.use_dynamic_bsz": "stages.grpo.maxTokensPerGpu",
    f"{_ACTOR}.ppo_max_token_len_per_gpu": "stages.grpo.maxTokensPerGpu",
    f"{_ROLLOUT}.name": "",
    f"{_ROLLOUT}.max_model_len": "stages.grpo.maxPromptTokens",
    f"{_ROLLOUT}.prompt_length": "stages.grpo.maxPromptTokens",
    f"{_ROLLOUT}.response_length": "stages.grpo.maxResponseTokens",
    f"{_ROLLOUT}.n_gpus_per_node": "compute.gpus",
    f"{_ROLLOUT}.nnodes": "compute.nodes",
    f"{_ROLLOUT}.tensor_model_parallel_size": "stages.grpo.tensorParallel",
    **{
        f"{part}.{name}": field
        for part in (_ROLLOUT, _REF)
        for name, field in {
            "log_prob_micro_batch_size": "stages.grpo.microBatchSizePerGpu",
            "log_prob_micro_batch_size_per_gpu": "stages.grpo.microBatchSizePerGpu",
            "log_prob_use_dynamic_bsz": "stages.grpo.maxTokensPerGpu",
            "log_prob_max_token_len_per_gpu": "stages.grpo.maxTokensPerGpu",
        }.items()
    },
    "algorithm.filter_groups": "stages.grpo.dropGroupsWithoutVariance",
    "reward.num_workers": "",
    "reward.reward_manager": "reward",
    "reward.custom_reward_function": "reward.terms",
    "ray_kwargs.ray_init.address": "compute.nodes",
    "ray_kwargs.ray_init._temp_dir": "",
}
_BY_STAGE = {"sft": _TRAINER | _SFT, "grpo": _TRAINER | _GRPO}


def instead_of(stage: str, key: str) -> str | None:
    """What to do instead of setting verl's `key`, in words; None if an override may set it."""
    owned = _BY_STAGE[stage]
    for name, field in owned.items():
        if key == name or key.startswith((f"{name}.", f"{name}/")):
            return f"set spec.{field.format(stage=stage)} instead" if field else "remove it"
    if any(name.startswith(f"{key}.") for name in owned):
        return "set only the parts that you need, each with its own override"
    return None
