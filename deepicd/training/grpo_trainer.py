"""verl's synchronous trainer, with a checkpoint on request, a Hugging Face copy of the final weights, batches in order, its
phases, and the shares of well-formed and truncated completions.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

import ray
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.v1 import trainer_base
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.workers.rollout.llm_server import LLMServerManager

from deepicd.phases import Phase, PhaseFile
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.export import export_from_now_on
from deepicd.training.rollouts import rollout_order
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import OF_COMPLETIONS, OF_TRAINING


def _save_hugging_face_too(worker: Any) -> None:
    """Runs in each actor worker: checkpoints from now on hold a Hugging Face copy of the weights."""
    for part in getattr(worker, "worker_dict", {"": worker}).values():
        export_from_now_on(part.actor.engine.checkpoint_manager)


class _Servers(LLMServerManager):  # type: ignore[misc]
    """Notes when vLLM's engines start: the trainer has no hook between its model and them."""

    @classmethod
    def create(cls, *arguments: Any, **options: Any) -> Any:
        PhaseFile(StageFiles.from_environment().phases).enter(Phase.VLLM)
        return super().create(*arguments, **options)


trainer_base.LLMServerManager = _Servers


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
        self._phases = PhaseFile(self._files.phases)
        self._phases.enter(Phase.MODEL)
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

    def _submit_batch_to_rollout(self, batch: Any) -> int:
        for prompt in batch["uid"]:
            self._places[prompt] = len(self._places)
        return int(super()._submit_batch_to_rollout(batch))

    def _balance_batch(self, batch: Any, *arguments: Any, **options: Any) -> Any:
        # Completions arrive in the order in which they ended, which would decide what is updated together.
        batch.reorder(rollout_order(batch.keys, self._places))
        return super()._balance_batch(batch, *arguments, **options)

    def _save_checkpoint(self) -> None:
        local = LocalCheckpoints.from_environment(self._files.checkpoints)
        self._phases.enter(Phase.SAVING)
        local.make_room(self._files.wait_for_disk)
        super()._save_checkpoint()
        local.drop_old()
        self._phases.enter(Phase.STEPS)

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], *arguments: Any, **options: Any) -> None:
        super()._compute_metrics(batch, metrics, *arguments, **options)
        # verl averages what the reward says about a completion over validations only.
        keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        stored = trainer_base.tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
        facts = [fields.get("reward_extra_info", {}) for fields in stored.pop("extra_fields").tolist()]
        for name in OF_COMPLETIONS:
            if all(name in fact for fact in facts):  # an override may name another reward manager than ours
                metrics[f"{OF_TRAINING}{name}"] = fmean(fact[name] for fact in facts)
