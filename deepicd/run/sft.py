"""Stage `sft`: supervised fine-tuning of the base model on reasoning traces."""

from __future__ import annotations

from deepicd.data import left_out
from deepicd.data import sft as examples
from deepicd.phases import Phase, PhaseStart
from deepicd.run.context import Context
from deepicd.run.prepare import log_left_out
from deepicd.run.train import train_sft
from deepicd.spec.training import SftSpec
from deepicd.training import examples_main
from deepicd.training.overrides import TrainingData


def sft(context: Context, settings: SftSpec) -> None:
    """Fill the stage's folder; the fine-tuned model is its `model/`. The examples of distilled traces are made first."""
    place = context.layout.stage("prepare" if context.run.spec.stages.distill is None else "distill")
    if context.run.spec.stages.distill is not None and not examples_main.are_made(place, settings.max_tokens):
        context.on_phase(PhaseStart(Phase.EXAMPLES, log=place.model_log))
        examples_main.build(context.layout.spec, context.cohort, context.layout)
        counts, made = examples.Examples.read(place.trace_counts), examples_main.read_counts(place)
        log_left_out([*(left_out.of_examples(counts) if counts else ()), *(left_out.of_prompts(made) if made else ())])
    data = TrainingData(place.traces, None, context.model("base"))
    folder = context.layout.stage("sft").folder
    train_sft(context.run, context.layout.spec, settings, data, folder, context.stop, context.on_step, context.on_phase)
