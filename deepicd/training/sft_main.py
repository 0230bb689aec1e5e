"""Entry point of SFT under torchrun: verl's trainer, with our data set, checkpoints on request and a Hugging Face copy."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from statistics import fmean
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
from deepicd.spec.load import load
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.export import export_from_now_on
from deepicd.training.lowest_loss import LowestLoss
from deepicd.training.sft_examples import SftExamples
from deepicd.training.sft_validation import is_held_out
from deepicd.training.stage_files import SPEC_VARIABLE, StageFiles
from deepicd.training.step_metrics import GPU_MEMORY, SECONDS, VALIDATION_LOSS

_OF_A_BATCH = (
    "use_remove_padding", "use_dynamic_bsz", "max_token_len_per_gpu", "micro_batch_size_per_gpu", "temperature",
    "global_batch_size", "pad_mode", "pad_token_id",
)  # fmt: skip
"""What verl says with each training batch, and a batch of the validation needs too."""


class Trainer(SFTTrainer):  # type: ignore[misc]
    """verl's SFT trainer has no hooks: this one acts around its training step and its checkpoint."""

    total_training_steps: int
    val_dataloader: Any

    def __init__(self, config: DictConfig) -> None:
        self._files = StageFiles.from_environment()
        self._phases = PhaseFile(self._files.phases)
        self._enter(Phase.MODEL)
        run = load(Path(os.environ[SPEC_VARIABLE])).spec
        rule = run.stages.sft.validation if run.stages.sft is not None else None
        self._held_out_share, self._seed = None if rule is None else rule.held_out, run.seed
        super().__init__(config)
        if self.resume_global_step and self.resume_global_step % self.steps_per_epoch == 0:
            # The loaded state is at the end of an epoch, so the loader would give an empty epoch first.
            self._build_dataloader()
            self.ckpt_handler.train_dataloader = self.train_dataloader
        self._stopping = False
        self._step, self._planned_steps = self.resume_global_step, self.total_training_steps
        self._stops_because: str | None = None
        self._lowest: LowestLoss | None = None
        if rule is not None:
            self._lowest = LowestLoss(rule, self.engine.module, self._files.checkpoints, self.rank)
            if self._step:
                self._lowest.load(self._step)
        self._train_batch = self.training_client.train_batch
        self.training_client.train_batch = self._train_batch_and_check_stop
        self._save = self.ckpt_handler.save_checkpoint
        self.ckpt_handler.save_checkpoint = self._save_checkpoint

    def _enter(self, phase: Phase) -> None:
        if torch.distributed.get_rank() == 0:
            self._phases.enter(phase)

    def _build_dataset(self) -> None:
        files, folder = self.config.data, Path(self.config.model.path)
        examples = partial(SftExamples, Path(files.train_files), self.model_config.tokenizer, folder)
        if (share := self._held_out_share) is None:
            self.train_dataset, self.val_dataset = examples(), None
            return
        self.train_dataset = examples(lambda patient: not is_held_out(patient, share, self._seed))
        self.val_dataset = examples(lambda patient: is_held_out(patient, share, self._seed))

    def _build_dataloader(self) -> None:
        super()._build_dataloader()
        self.train_sampler.seed = self.config.trainer.seed  # verl leaves it at 0
        # verl would validate only after it has decided whether a step is the last.
        self._held_out, self.val_dataloader = self.val_dataloader, None

    def _train_batch_and_check_stop(self, data: Any) -> Any:
        if self.rank == 0:
            self._files.enter_loop(self.total_training_steps)
        self._enter(Phase.STEPS)
        of_a_batch = {name: tu.get(data, name) for name in _OF_A_BATCH}
        began = time.monotonic()
        output = self._train_batch(data=data)
        seconds = time.monotonic() - began
        self._step += 1
        if self._lowest is not None and self._lowest.is_due(self._step, self.total_training_steps):
            self._stops_because = self._lowest.add(self._step, self._validation_loss(of_a_batch))
            if self._stops_because is not None:
                self.total_training_steps = self._step
        if output is not None:  # one rank of those that share a sequence has it
            self._add_metrics(tu.get(output, "metrics"), seconds)
        flag = torch.tensor([int(self._files.stop_request.exists())], device=self.device_name)
        # All ranks leave at the same step, whichever saw the request first.
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        if flag.item():
            self._stopping = True
            self.save_freq = 1
        return output

    def _validation_loss(self, of_a_batch: dict[str, Any]) -> float:
        """The loss on the held-out examples, the same on all ranks."""
        self._enter(Phase.VALIDATION)
        found = []
        for batch in self._held_out:
            output = self.training_client.infer_batch(tu.get_tensordict(tensor_dict=batch, non_tensor_dict=of_a_batch))
            if output is not None:
                found.append(tu.get(output, "metrics")["loss"])
        # Of the ranks that share a sequence one has it.
        loss = torch.tensor(fmean(found) if found else float("-inf"), device=self.device_name)
        torch.distributed.all_reduce(loss, op=torch.distributed.ReduceOp.MAX)
        return float(loss.item())

    def _add_metrics(self, metrics: dict[str, Any], seconds: float) -> None:
        metrics[SECONDS] = seconds
        if self._lowest is not None and (loss := self._lowest.of(self._step)) is not None:
            metrics[VALIDATION_LOSS] = loss
        if self.device_name != "cpu":  # on which verl's number is of the process
            metrics[GPU_MEMORY] = metrics["perf/max_memory_reserved_gb"]

    def _save_checkpoint(self, step: int) -> None:
        if step >= self.total_training_steps:
            export_from_now_on(self.engine.checkpoint_manager)
            if self._lowest is not None:
                end = self._lowest.end(step, self._planned_steps, self._stops_because)
                if self.rank == 0:
                    end.write(self._files.sft_end)
        self._enter(Phase.SAVING)
        local = LocalCheckpoints.from_environment(self._files.checkpoints)
        if self.rank == 0:
            local.make_room(self._files.wait_for_disk)
        torch.distributed.barrier()
        if self._lowest is not None and step < self.total_training_steps:
            self._lowest.save(step)
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
