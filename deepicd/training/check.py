"""Check a run's verl overrides against verl's own configuration, before anything starts. Imports Hydra, not verl."""

from __future__ import annotations

from pathlib import Path

from deepicd.errors import UserError
from deepicd.spec.run import DeepICDRun
from deepicd.training.override_rules import BadOverrideError, check_override
from deepicd.training.override_values import check_values
from deepicd.training.overrides import TrainingData, grpo_overrides, sft_overrides
from deepicd.training.stage_files import StageFiles
from deepicd.training.verl_config import compose


def stage_overrides(run: DeepICDRun) -> dict[str, list[str]]:
    """What each training stage of a run passes to verl, with paths below `RUN`."""
    folder = Path("RUN")
    stages = run.spec.stages
    data = TrainingData(folder / "train.parquet", folder / "validation.parquet", folder / "model")
    found = {}
    if stages.sft is not None:
        found["sft"] = sft_overrides(run, stages.sft, data, StageFiles(folder / "sft"))
    if stages.grpo is not None:
        found["grpo"] = grpo_overrides(run, stages.grpo, data, StageFiles(folder / "grpo"))
    return found


def check_overrides(run: DeepICDRun) -> None:
    """Check the overrides of each training stage: their syntax, keys and values.

    Raises:
        UserError: an override of run.yaml sets what DeepICD sets itself, or does not fit verl; the message names it.
    """
    for stage, overrides in stage_overrides(run).items():
        own = list(getattr(run.spec.stages, stage).overrides)
        if not own:
            continue
        ours = overrides[: len(overrides) - len(own)]
        config = compose(stage, ours)
        for count, override in enumerate(own):
            try:
                check_override(stage, override, config)
            except BadOverrideError as error:
                raise UserError(f"spec.stages.{stage}.overrides[{count}]: '{override}': {error}") from None
        try:
            compose(stage, [*ours, *own])
        except UserError:
            raise
        except Exception as error:  # errors that the rules do not cover, in Hydra's own words
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"spec.stages.{stage}.overrides: do not fit verl's configuration: {reason}") from None
        check_values(stage, ours, own)
