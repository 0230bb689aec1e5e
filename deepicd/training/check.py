"""Check a run's verl overrides against verl's own configuration, before anything starts. Imports Hydra, not verl."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepicd.errors import UserError
from deepicd.extras import require
from deepicd.spec.run import DeepICDRun
from deepicd.training.overrides import TrainingData, grpo_overrides, sft_overrides
from deepicd.training.stage_files import StageFiles

CONFIGS = {"sft": "sft_trainer_engine", "grpo": "ppo_trainer"}
"""Name of verl's configuration for each training stage."""


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


def compose(stage: str, overrides: list[str]) -> Any:
    """verl's configuration for a stage, with overrides applied (an omegaconf DictConfig).

    Raises:
        UserError: verl is not installed.
        Exception: Hydra's or omegaconf's, if an override does not fit.
    """
    require(f"spec.stages.{stage}.overrides: checking them", ("hydra", "verl"))
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    (package,) = getattr(find_spec("verl"), "submodule_search_locations", None) or [""]
    folder = Path(package) / "trainer" / "config"
    with initialize_config_dir(str(folder), version_base=None):
        # Hydra's own settings are not verl's.
        return hydra_compose(CONFIGS[stage], [item for item in overrides if not item.startswith("hydra")])


def check_overrides(run: DeepICDRun) -> None:
    """Compose verl's configuration for each training stage.

    Raises:
        UserError: an override of run.yaml does not fit verl's configuration; the message names it.
    """
    for stage, overrides in stage_overrides(run).items():
        own = list(getattr(run.spec.stages, stage).overrides)
        if not own:
            continue
        ours = overrides[: len(overrides) - len(own)]
        for count, override in enumerate(own):
            try:
                compose(stage, [*ours, *own[: count + 1]])
            except UserError:
                raise
            except Exception as error:
                reason = str(error).strip().splitlines()[0]
                raise UserError(f"spec.stages.{stage}.overrides[{count}]: '{override}': {reason}") from None
