"""Stage `grpo`: reinforcement learning from the SFT model, or from the base model if there was no SFT."""

from __future__ import annotations

from deepicd.run.context import Context
from deepicd.run.train import train_grpo
from deepicd.spec.training import GrpoSpec
from deepicd.training.overrides import TrainingData


def grpo(context: Context, settings: GrpoSpec) -> None:
    """Fill the stage's folder; the trained model is its `model/`."""
    start = context.model("base" if context.run.spec.stages.sft is None else "sft")
    data = TrainingData(context.prompts("train"), context.prompts("validation"), start)
    folder = context.layout.stage("grpo").folder
    train_grpo(context.run, context.layout.spec, settings, data, folder, context.stop, context.on_step, context.on_phase)
