"""verl's configuration of a training stage, composed by Hydra. Does not import verl."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepicd.errors import UserError

CONFIGS = {"sft": "sft_trainer_engine", "grpo": "ppo_trainer"}
"""Name of verl's configuration for each training stage."""


def compose(stage: str, overrides: Sequence[str]) -> Any:
    """verl's configuration for a stage, with overrides applied (an omegaconf DictConfig).

    Raises:
        UserError: verl is not installed.
        Exception: Hydra's or omegaconf's, if an override does not fit.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    package = find_spec("verl")
    if package is None or not package.submodule_search_locations:
        raise UserError("verl is not installed: install deepicd[train] or deepicd[train-cpu]")
    folder = Path(package.submodule_search_locations[0]) / "trainer" / "config"
    with initialize_config_dir(str(folder), version_base=None):
        # Hydra's own settings are not verl's.
        return hydra_compose(CONFIGS[stage], [item for item in overrides if not item.startswith("hydra")])
