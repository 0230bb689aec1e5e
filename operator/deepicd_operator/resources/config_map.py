"""The ConfigMap that an attempt reports to."""

from __future__ import annotations

from typing import Any

from deepicd.spec.progress import progress_name
from deepicd_operator.resources.attempt import AttemptRequest


def progress_config_map(request: AttemptRequest) -> dict[str, Any]:
    """Return an empty ConfigMap; see `deepicd.spec.progress` for what the attempt's pod writes into it."""
    name = progress_name(request.name, request.number)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": request.metadata(name)}
