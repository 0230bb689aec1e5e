"""Which run a run.yaml is: the name of its folder in the store."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from deepicd.errors import UserError
from deepicd.spec.environment import RUN_UID
from deepicd.spec.run import DeepICDRun

# What may change between two launches of a run: it decides how and where the work is done, not what is learned.
_HOW = {
    "microBatchSizePerGpu", "gpuMemoryUtilization", "gradientCheckpointing", "torchCompile", "removePadding",
    "offloadParameters", "offloadOptimizer", "saveEverySteps", "keepCheckpoints", "validateEverySteps",
    "maxValidationAdmissions",
}  # fmt: skip
_WHERE = {"storage", "recovery", "suspend"}


def run_uid(run: DeepICDRun, environment: Mapping[str, str] = os.environ) -> str:
    """DEEPICD_RUN_UID where that is set, else 12 hex digits of what decides the run's result.

    The same run.yaml is the same run on every machine, and so is one in which only the way of working was changed.

    Raises:
        UserError: the variable cannot be a folder's name.
    """
    if given := environment.get(RUN_UID):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", given):
            raise UserError(f"{RUN_UID}: is '{given}': give letters, digits and dashes, at most 64")
        return given
    settings: dict[str, Any] = run.spec.model_dump(by_alias=True, mode="json")
    deciding = {name: value for name, value in settings.items() if name not in _WHERE}
    # Of `compute` only the number of ranks decides what is learned.
    deciding["compute"] = run.spec.compute.gpus * run.spec.compute.nodes
    deciding["stages"] = {name: decisive(chosen or {}) for name, chosen in settings["stages"].items()}
    return sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]


def decisive(stage: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stage that decide its result."""
    return {name: value for name, value in stage.items() if name not in _HOW}


def spec_digest(run: DeepICDRun) -> str:
    """SHA-256 of the run with every default filled in."""
    return sha256(json.dumps(run.model_dump(by_alias=True, mode="json"), sort_keys=True).encode()).hexdigest()


def run_path(run: DeepICDRun, environment: Mapping[str, str] = os.environ) -> str:
    """The run's root below the store's prefix: `<run>/<run uid>`."""
    return f"{run.metadata.name}/{run_uid(run, environment)}"
