"""The curves of a run, from the metrics that its training stages write."""

from __future__ import annotations

from typing import Any

from deepicd.run_layout import TRAINING_STAGES, RunLayout
from deepicd.training.step_metrics import all_steps


def curve_rows(layout: RunLayout) -> list[dict[str, Any]]:
    """The rows of curves.jsonl: `stage`, and `StepMetrics.to_json` of each step so far."""
    return [{"stage": stage, **row.to_json()} for stage in TRAINING_STAGES for row in all_steps(layout.stage(stage).metrics)]
