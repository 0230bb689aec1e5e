"""verl's synchronous trainer, with a checkpoint on request, a Hugging Face copy of the final weights, and batches in order."""

from __future__ import annotations

from typing import Any

import ray
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.export import export_as_trained
from deepicd.training.rollouts import rollout_order
from deepicd.training.stage_files import StageFiles


def _save_hugging_face_too(worker: Any) -> None:
    """Runs in each actor worker: checkpoints from now on hold a Hugging Face copy of the weights."""
    export_as_trained()
    for part in getattr(worker, "worker_dict", {"": worker}).values():
        manager = part.actor.engine.checkpoint_manager
        manager.checkpoint_save_contents = [*manager.checkpoint_save_contents, "hf_model"]


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
        self._places: dict[str, int] = {}

    def fit(self, *arguments: Any) -> None:
        super().fit(*arguments)
        self._files.leave_loop()

    def on_train_begin(self) -> None:
        super().on_train_begin()
        self._files.enter_loop(self.total_training_steps)

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
        local.make_room(self._files.wait_for_disk)
        super()._save_checkpoint()
        local.drop_old()
