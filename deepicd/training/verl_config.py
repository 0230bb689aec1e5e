"""verl's configuration of a training stage, composed by Hydra. Does not import verl."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepicd.extras import require

CONFIGS = {"sft": "sft_trainer_engine", "grpo": "ppo_trainer"}
"""Name of verl's configuration for each training stage."""


def compose(stage: str, overrides: Sequence[str]) -> Any:
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
