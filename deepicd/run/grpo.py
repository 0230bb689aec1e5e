"""Stage `grpo`: reinforcement learning from the SFT model, or from the base model where there was no SFT."""

from __future__ import annotations

from deepicd.run.context import Context
from deepicd.run.train import train_grpo
from deepicd.spec.training import GrpoSpec
from deepicd.training.overrides import TrainingData


def grpo(context: Context, settings: GrpoSpec) -> None:
    """Fill the stage's folder; the trained model is its `model/`."""
    start = context.stage_folder("sft") / "model" if context.run.spec.stages.sft is not None else context.base_model
    data = TrainingData(context.cohort / "train.parquet", context.cohort / "validation.parquet", start)
    folder = context.stage_folder("grpo")
    train_grpo(context.run, context.spec_file, settings, data, folder, context.stop, context.on_step)
