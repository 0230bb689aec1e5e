"""Stage `grpo`: reinforcement learning from the SFT model, or from the base model if there was no SFT."""

from __future__ import annotations

from deepicd.run.context import Context
from deepicd.run.difficulty import training_prompts
from deepicd.run.train import train_grpo
from deepicd.spec.training import GrpoSpec
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.overrides import TrainingData
from deepicd.training.step_metrics import StepMetrics


def grpo(context: Context, settings: GrpoSpec) -> None:
    """Fill the stage's folder; the trained model is its `model/`. SFT's checkpoints go once they are durable."""
    start = context.model("base" if context.run.spec.stages.sft is None else "sft")
    train = training_prompts(context, settings, start)
    data = TrainingData(train, context.prompts("validation"), start)
    folder = context.layout.stage("grpo").folder
    stored = context.run.spec.storage is not None
    of_sft = LocalCheckpoints(context.layout.stage("sft").checkpoints, keep=1, stored=stored)
    of_sft.drop_all()

    def on_step(row: StepMetrics, total: int | None) -> None:
        of_sft.drop_all()
        context.on_step(row, total)

    train_grpo(context.run, context.layout.spec, settings, data, folder, context.stop, on_step, context.on_phase)
