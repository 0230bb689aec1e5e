"""Entry point of SFT under torchrun: verl's trainer, with our data set, checkpoints on request and a Hugging Face copy."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import hydra
import torch
import torch.distributed
from omegaconf import DictConfig
from verl.trainer.sft_trainer import SFTTrainer
from verl.utils import tensordict_utils as tu
from verl.utils.device import auto_set_device
from verl.utils.distributed import destroy_global_process_group, initialize_global_process_group

from deepicd.phases import Phase, PhaseFile
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.export import export_from_now_on
from deepicd.training.sft_examples import SftExamples
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import GPU_MEMORY, SECONDS


class Trainer(SFTTrainer):  # type: ignore[misc]
    """verl's SFT trainer has no hooks: this one acts around its training step and its checkpoint."""

    def __init__(self, config: DictConfig) -> None:
        self._files = StageFiles.from_environment()
        self._phases = PhaseFile(self._files.phases)
        self._enter(Phase.MODEL)
        super().__init__(config)
        if self.resume_global_step and self.resume_global_step % self.steps_per_epoch == 0:
            # The loaded state is at the end of an epoch, so the loader would give an empty epoch first.
            self._build_dataloader()
            self.ckpt_handler.train_dataloader = self.train_dataloader
        self._stopping = False
        self._train_batch = self.training_client.train_batch
        self.training_client.train_batch = self._train_batch_and_check_stop
        self._save = self.ckpt_handler.save_checkpoint
        self.ckpt_handler.save_checkpoint = self._save_checkpoint

    def _enter(self, phase: Phase) -> None:
        if torch.distributed.get_rank() == 0:
            self._phases.enter(phase)

    def _build_dataset(self) -> None:
        files, folder = self.config.data, Path(self.config.model.path)
        self.train_dataset = SftExamples(Path(files.train_files), self.model_config.tokenizer, folder)
        self.val_dataset = files.val_files and SftExamples(Path(files.val_files), self.model_config.tokenizer, folder)

    def _build_dataloader(self) -> None:
        super()._build_dataloader()
        self.train_sampler.seed = self.config.trainer.seed  # verl leaves it at 0

    def _train_batch_and_check_stop(self, data: Any) -> Any:
        if self.rank == 0:
            self._files.enter_loop(self.total_training_steps)
        self._enter(Phase.STEPS)
        began = time.monotonic()
        output = self._train_batch(data=data)
        if output is not None:  # one rank of those that share a sequence has it
            self._add_metrics(tu.get(output, "metrics"), time.monotonic() - began)
        flag = torch.tensor([int(self._files.stop_request.exists())], device=self.device_name)
        # All ranks leave at the same step, whichever saw the request first.
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        if flag.item():
            self._stopping = True
            self.save_freq = 1
        return output

    def _add_metrics(self, metrics: dict[str, Any], seconds: float) -> None:
        metrics[SECONDS] = seconds
        if self.device_name != "cpu":  # on which verl's number is of the process
            metrics[GPU_MEMORY] = metrics["perf/max_memory_reserved_gb"]

    def _save_checkpoint(self, step: int) -> None:
        if step >= self.total_training_steps:
            export_from_now_on(self.engine.checkpoint_manager)
        self._enter(Phase.SAVING)
        local = LocalCheckpoints.from_environment(self._files.checkpoints)
        if self.rank == 0:
            local.make_room(self._files.wait_for_disk)
        torch.distributed.barrier()
        self._save(step=step)
        if self.rank == 0:
            local.drop_old()
        self._enter(Phase.ENDING if step >= self.total_training_steps else Phase.STEPS)
        if self._stopping and step < self.total_training_steps:
            destroy_global_process_group()
            raise SystemExit(0)


_OF_A_RAY_JOB = ("RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", "RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES")
"""Variables that Ray sets for a submitted command. verl takes them as a sign that it runs in an actor, and asks Ray for its
GPU."""


@hydra.main(config_path="pkg://verl.trainer.config", config_name="sft_trainer_engine", version_base=None)  # type: ignore[untyped-decorator]
def main(config: DictConfig) -> None:
    """Train; the configuration comes from the command line, as verl's own entry point has it."""
    for variable in _OF_A_RAY_JOB:
        os.environ.pop(variable, None)
    auto_set_device(config)
    initialize_global_process_group()
    Trainer(config).fit()
    destroy_global_process_group()


if __name__ == "__main__":
    main()
