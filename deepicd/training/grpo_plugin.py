"""External module for verl's processes: makes our trainer known once verl's own is imported."""

from __future__ import annotations

from types import ModuleType

from deepicd.training.imports import after_import


def _register(module: ModuleType) -> None:
    import deepicd.training.grpo_trainer  # noqa: F401


after_import("verl.trainer.ppo.v1.trainer_sync", _register)
