"""Names of Ray's and vLLM's processes in training. Both write them in place of the program's path."""

from __future__ import annotations

import re
from collections.abc import Sequence

RAY_NODE = ("gcs_server", "raylet")
"""Ray's own processes of a node."""
_NODE = re.compile(rf"\S*/({'|'.join(RAY_NODE)})$")
# Actors live as long as training and have a class's name; tasks, which end, have a function's. The excluded ones are Ray's own.
_WORKER = re.compile(
    r"ray::((?!IDLE|SPILL_|RESTORE_|DELETE_|DashboardAgent|RuntimeEnvAgent|JobSupervisor)(?:[A-Z]|vLLM)\w*)|(VLLM::\w+)"
)


def worker_name(command: Sequence[str]) -> str | None:
    """The actor or engine whose command line this is; None for every other process."""
    return _name(_WORKER, command)


def node_name(command: Sequence[str]) -> str | None:
    """Which of `RAY_NODE` has this command line; None for every other process."""
    return _name(_NODE, command)


def _name(pattern: re.Pattern[str], command: Sequence[str]) -> str | None:
    match = pattern.match(command[0]) if command else None
    return next(name for name in match.groups() if name) if match else None
