"""verl's synchronous trainer, with a checkpoint on request, a Hugging Face copy of the final weights, batches in order, its
phases, the KL's schedule, a limit for the prompts of a step, and more metrics of its completions and validations.
"""

from __future__ import annotations

import os
from pathlib import Path
from statistics import fmean
from typing import Any

import ray
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.v1 import trainer_base
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.workers.rollout.llm_server import LLMServerManager

from deepicd.errors import JudgeError, UserError
from deepicd.phases import Phase, PhaseFile
from deepicd.rewards.judge import watch
from deepicd.spec.load import load
from deepicd.spec.run import RunSpec
from deepicd.spec.training import GrpoSpec
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.colocated_rewards import FIELDS, RewardsAfterRollouts, reward_input, with_rewards
from deepicd.training.completion_facts import of_judges, per_token, without_variance
from deepicd.training.export import export_from_now_on
from deepicd.training.judge_sleep import Switch
from deepicd.training.kept_rollouts import KeptRollout, keep
from deepicd.training.losses import check_drawn, kl_share
from deepicd.training.rollouts import rollout_order
from deepicd.training.stage_files import SPEC_VARIABLE, StageFiles
from deepicd.training.step_metrics import GPU_MEMORY, OF_COMPLETIONS, OF_TRAINING, WITHOUT_VARIANCE


def _save_hugging_face_too(worker: Any) -> None:
    """Runs in each actor worker: checkpoints from now on hold a Hugging Face copy of the weights."""
    for part in getattr(worker, "worker_dict", {"": worker}).values():
        export_from_now_on(part.actor.engine.checkpoint_manager)


def _set_kl_loss_coefficient(worker: Any, value: float) -> None:
    """Runs in each actor worker: the coefficient of the KL loss from now on."""
    for part in getattr(worker, "worker_dict", {"": worker}).values():
        # verl freezes its settings.
        object.__setattr__(part.loss_fn.keywords["config"], "kl_loss_coef", value)


class _Servers(LLMServerManager):  # type: ignore[misc]
    """Records when vLLM's engines start, because the trainer has no hook between its model and them."""

    @classmethod
    def create(cls, *arguments: Any, **options: Any) -> Any:
        PhaseFile(StageFiles.from_environment().phases).enter(Phase.VLLM)
        return super().create(*arguments, **options)


trainer_base.LLMServerManager = _Servers


def _judge_switch(spec: RunSpec) -> Switch | None:
    """The switch of a colocated judge; None without one."""
    judge = spec.reward.judge
    return Switch.of(os.environ, spec.recovery.stall_after.total_seconds()) if judge is not None and judge.colocated else None


@register_trainer("deepicd")
class Trainer(PPOTrainerSync):  # type: ignore[misc]
    """Adds to the synchronous trainer what a supervised run needs."""

    total_training_steps: int

    def __init__(self, config: DictConfig) -> None:
        # The mode has chosen this class; elsewhere verl compares its name with "sync".
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)
        self._files = StageFiles.from_environment()
        spec = load(Path(os.environ[SPEC_VARIABLE])).spec
        assert spec.stages.grpo is not None  # noqa: S101 - this is its trainer
        self._grpo: GrpoSpec = spec.stages.grpo
        self._phases = PhaseFile(self._files.phases)
        self._phases.enter(Phase.MODEL)
        self._judge = _judge_switch(spec)
        if self._judge is not None:
            trainer_base.RewardLoopManager = RewardsAfterRollouts
        self._in_loop = False
        self._places: dict[str, int] = {}

    def fit(self, *arguments: Any) -> None:
        super().fit(*arguments)
        self._phases.enter(Phase.ENDING)
        self._files.leave_loop()

    def on_validate_begin(self) -> None:
        super().on_validate_begin()
        self._phases.enter(Phase.VALIDATION)

    def on_validate_end(self) -> None:
        super().on_validate_end()
        if self._in_loop:
            self._phases.enter(Phase.STEPS)

    def _validate(self) -> dict[str, float]:
        found: dict[str, float] = super()._validate()
        # verl does not average the judges' answers.
        sums = watch.read_file(self._files.judged, "validation").get(self.global_steps)
        return found | ({} if sums is None or sums.second is None else of_judges(sums.second))

    def on_train_begin(self) -> None:
        super().on_train_begin()
        self._files.enter_loop(self.total_training_steps)
        self._phases.enter(Phase.ROLLOUTS)
        self._in_loop = True

    def on_sample_end(self) -> None:
        super().on_sample_end()
        self._phases.enter(Phase.STEPS)

    def on_step_begin(self) -> None:
        super().on_step_begin()
        self._places.clear()
        self._set_kl_coefficients()
        if self.global_steps == self.total_training_steps:
            ray.get([worker.__ray_call__.remote(_save_hugging_face_too) for worker in self.actor_rollout_wg.workers])

    def on_step_end(self) -> None:
        super().on_step_end()
        if self._files.stop_request.exists() and self.global_steps < self.total_training_steps:
            if self._files.checkpoints.last_step != self.global_steps:
                self._save_checkpoint()
            # The loop ends after this step, once its metrics are written, and without a validation.
            self.total_training_steps = self.global_steps
            self.config.trainer.test_freq = -1

    def _set_kl_coefficients(self) -> None:
        if self._grpo.kl_schedule == "constant":
            return
        share = kl_share(self._grpo, self.global_steps, self.total_training_steps)
        if self.config.algorithm.use_kl_in_reward:
            self.kl_ctrl_in_reward.value = share * self.config.algorithm.kl_ctrl.kl_coef
        actor = self.config.actor_rollout_ref.actor
        if actor.use_kl_loss:
            value = share * actor.kl_loss_coef
            workers = self.actor_rollout_wg.workers
            ray.get([worker.__ray_call__.remote(_set_kl_loss_coefficient, value) for worker in workers])

    def _add_prompts_to_generate(self, num_prompts: int) -> int:
        try:
            check_drawn(len(self._places) + num_prompts, self.config.data.train_batch_size, self.global_steps)
        except UserError as error:
            self._files.report_failure(error)
            raise
        return int(super()._add_prompts_to_generate(num_prompts))

    def _submit_batch_to_rollout(self, batch: Any) -> int:
        for prompt in batch["uid"]:
            self._places[prompt] = len(self._places)
        return int(super()._submit_batch_to_rollout(batch))

    def _balance_batch(self, batch: Any, *arguments: Any, **options: Any) -> Any:
        # Completions arrive in the order in which they finish, which would decide which are updated together.
        batch.reorder(rollout_order(batch.keys, self._places))
        return super()._balance_batch(batch, *arguments, **options)

    def _compute_reward_colocate(self, batch: Any, metrics: dict[str, Any] | None = None) -> Any:
        # verl calls this once the policy sleeps, if rollouts have no reward yet.
        assert self._judge is not None  # noqa: S101 - only with one do they have none
        stored = trainer_base.tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(FIELDS))
        (worker,) = self.reward_loop_manager.reward_loop_workers
        try:
            with self._judge.awake():
                rewards = ray.get(worker.compute_score_batch.remote(reward_input(stored, self.global_steps)))
        except JudgeError as error:
            self._files.report_failure(error)
            raise
        fields = with_rewards(stored, rewards)
        trainer_base.tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)
        return batch

    def _save_checkpoint(self) -> None:
        local = LocalCheckpoints.from_environment(self._files.checkpoints)
        self._phases.enter(Phase.SAVING)
        local.make_room(self._files.wait_for_disk)
        super()._save_checkpoint()
        local.drop_old()
        self._phases.enter(Phase.STEPS)

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], *arguments: Any, **options: Any) -> None:
        super()._compute_metrics(batch, metrics, *arguments, **options)
        scale = self.config.actor_rollout_ref.actor.loss_scale_factor
        if scale is not None:
            metrics |= per_token(metrics, scale)
        held = metrics.get("actor/perf/max_memory_reserved_gb")
        if held is not None and self.config.trainer.device != "cpu":  # on which verl's number is of the process
            metrics[GPU_MEMORY] = held
        # verl averages what the reward says about a completion over validations only.
        keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        stored = trainer_base.tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
        facts = [fields.get("reward_extra_info", {}) for fields in stored.pop("extra_fields").tolist()]
        for name in OF_COMPLETIONS:
            metrics[f"{OF_TRAINING}{name}"] = fmean(fact[name] for fact in facts)
        metrics[WITHOUT_VARIANCE] = without_variance(keys, [fact["score"] for fact in facts], metrics)
        if self._grpo.keep_rollouts is not None:
            self._keep_rollouts([keys[place] for place in rollout_order(keys, self._places)][: self._grpo.keep_rollouts])

    def _keep_rollouts(self, keys: list[str]) -> None:
        fields = ["prompts", "responses", "rm_scores", "reward_model", "extra_info", "extra_fields"]
        stored = trainer_base.tq.kv_batch_get(keys=keys, partition_id="train", select_fields=fields)
        gold, about, facts = (stored.pop(name).tolist() for name in ("reward_model", "extra_info", "extra_fields"))
        prompts, completions, scores = (stored[name].unbind() for name in ("prompts", "responses", "rm_scores"))
        kept = []
        for place, key in enumerate(keys):
            terms = dict(facts[place]["reward_extra_info"])
            kept.append(
                KeptRollout(
                    step=self.global_steps,
                    id=about[place]["id"],
                    rollout=int(key.split("_")[1]),
                    prompt=self.tokenizer.decode(prompts[place]),
                    completion=self.tokenizer.decode(completions[place], skip_special_tokens=True),
                    gold=gold[place]["ground_truth"],
                    tokens=len(completions[place]),
                    reward=float(scores[place].sum()),
                    terms={name.removeprefix("reward_"): value for name, value in terms.items() if name != "score"},
                )
            )
        keep(self._files.rollouts, kept)
