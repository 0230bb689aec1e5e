"""The identity of a run: the name of its folder in the store."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from hashlib import sha256

from deepicd.errors import UserError
from deepicd.spec.environment import RUN_UID
from deepicd.spec.run import DeepICDRun


def run_uid(run: DeepICDRun, environment: Mapping[str, str] = os.environ) -> str:
    """DEEPICD_RUN_UID if it is set, else 12 hex digits of a digest of what decides the run's result.

    The same run.yaml is the same run on every machine, also after a change to fields that may change.

    Raises:
        UserError: the variable is not a valid folder name.
    """
    if given := environment.get(RUN_UID):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", given):
            raise UserError(f"{RUN_UID}: is '{given}': give letters, digits and dashes, at most 64")
        return given
    deciding = run.spec.decisive
    # The name of a folder in the store cannot depend on the store.
    del deciding["storage"]
    # How ranks are spread over nodes does not decide the result.
    deciding["compute"] = run.spec.compute.gpus * run.spec.compute.nodes
    deciding["stages"] = {name: chosen or {} for name, chosen in deciding["stages"].items()}
    return sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]


def spec_digest(run: DeepICDRun) -> str:
    """SHA-256 of the run with every default filled in."""
    return sha256(json.dumps(run.model_dump(by_alias=True, mode="json"), sort_keys=True).encode()).hexdigest()


def run_path(run: DeepICDRun, environment: Mapping[str, str] = os.environ) -> str:
    """The run's root below the store's prefix: `<run>/<run uid>`."""
    return f"{run.metadata.name}/{run_uid(run, environment)}"
