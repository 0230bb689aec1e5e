"""Stage `sft`: supervised fine-tuning of the base model on reasoning traces."""

from __future__ import annotations

from deepicd.run.context import Context
from deepicd.run.train import train_sft
from deepicd.spec.training import SftSpec
from deepicd.training.overrides import TrainingData


def sft(context: Context, settings: SftSpec) -> None:
    """Fill the stage's folder; the fine-tuned model is its `model/`."""
    data = TrainingData(context.layout.stage("prepare").traces, None, context.model("base"))
    folder = context.layout.stage("sft").folder
    train_sft(context.run, context.layout.spec, settings, data, folder, context.stop, context.on_step, context.on_phase)
