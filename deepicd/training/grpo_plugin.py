"""External module for verl's processes: registers our trainer, rollout and engine once verl's own are imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

from deepicd.training.imports import after_import
from deepicd.training.weight_sockets import use_own_sockets


def _register_trainer(module: ModuleType) -> None:
    import deepicd.training.grpo_trainer  # noqa: F401


def _register_agent_loop(module: ModuleType) -> None:
    import deepicd.training.agent_loop  # noqa: F401


def _register_engine(module: ModuleType) -> None:
    import deepicd.training.engine  # noqa: F401


def _leave_out_working_folder() -> None:
    """Undo what Ray does in its workers, PYTHONSAFEPATH or not: it puts the working folder before the installed libraries."""
    folder, wanted = str(Path.cwd()), os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if sys.flags.safe_path and sys.path[0] == folder and folder not in wanted:
        del sys.path[0]


_leave_out_working_folder()
after_import("verl.workers.engine.fsdp.transformer_impl", _register_engine)
after_import("verl.trainer.ppo.v1.trainer_sync", _register_trainer)
use_own_sockets()
after_import("verl.experimental.agent_loop.single_turn_agent_loop", _register_agent_loop)
