from __future__ import annotations

from typing import Any

import pytest

from deepicd_operator.columns import columns
from deepicd_operator.status import RunStatus


@pytest.mark.parametrize(
    ("fields", "column", "shown"),
    [
        ({"step": 120, "steps": 1406}, "step", "120/1406"),
        ({"step": 120}, "step", "120"),
        ({}, "step", ""),
        ({"reward": 0.4142}, "reward", "0.41"),
        ({"reward": -1.0}, "reward", "-1.00"),
        ({"kl": 0.0123}, "kl", "0.012"),
        ({"kl": 0.00002}, "kl", "2.0e-05"),
        ({"kl": 0.0}, "kl", "0.000"),
        ({"metrics": {"category": 0.5567}}, "f1_category", "0.557"),
        ({"state": "Running", "eta_seconds": 32500}, "eta", "9h"),
        ({"state": "Running", "eta_seconds": 100}, "eta", "1m"),
        ({"state": "Running", "eta_seconds": 40}, "eta", "40s"),
        ({"state": "Running", "eta_seconds": 200000}, "eta", "2d"),
        ({"state": "Pending", "eta_seconds": 40}, "eta", ""),
        ({"gpu_hours": 12.345}, "gpu_hours", "12.3"),
    ],
)
def test_a_column_is_short(fields: dict[str, Any], column: str, shown: str) -> None:
    assert getattr(columns(RunStatus.model_validate(fields)), column) == shown
