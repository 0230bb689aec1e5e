from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from deepicd_operator.conditions import Condition
from deepicd_operator.prometheus import Metrics, RunFigures
from deepicd_operator.status import RunStatus, VerifiedCheckpoint

CHART = Path(__file__).parents[3] / "charts" / "deepicd"
NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


def figures(**status: object) -> RunFigures:
    return RunFigures.of("research", "night-run", RunStatus.model_validate(status))


def checkpoint(stage: str, step: int) -> VerifiedCheckpoint:
    return VerifiedCheckpoint.model_validate(
        {"stage": stage, "step": step, "uri": "s3://x", "sha256": "a" * 64, "time": NOON, "attempt": 1}
    )


def test_steps_count_from_the_last_checkpoint_of_the_same_stage() -> None:
    running = {"state": "Running", "stage": "grpo", "step": 70}
    assert figures(**running, last_verified_checkpoint=checkpoint("grpo", 50)).steps_since_checkpoint == 20
    assert figures(**running, last_verified_checkpoint=checkpoint("sft", 60)).steps_since_checkpoint == 70
    assert figures(**running).steps_since_checkpoint == 70
    assert figures(state="Failed", stage="grpo", step=70).steps_since_checkpoint is None


def test_conditions_that_need_attention_are_problems() -> None:
    conditions = [
        Condition(type=kind, status=status, reason="Stalled", message="", last_transition_time=NOON, observed_generation=1)
        for kind, status in (
            ("StepsStalled", "True"),
            ("RewardCollapsed", "False"),
            ("JudgeDiverged", "True"),
            ("Running", "True"),
        )
    ]
    assert figures(conditions=conditions).problems == (("StepsStalled", "Stalled"), ("JudgeDiverged", "Stalled"))


def test_a_deleted_run_is_no_longer_shown() -> None:
    metrics = Metrics()
    metrics.show_runs([figures(state="Running", stage="grpo", step=7)])
    assert 'deepicd_run_steps_since_checkpoint{namespace="research",run="night-run"} 7.0' in metrics.text().decode()
    metrics.show_runs([])
    assert "night-run" not in metrics.text().decode()


def test_dashboard_and_alerts_use_metrics_that_exist() -> None:
    known = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    known |= {family.name for family in Metrics().registry.collect()}
    known |= {f"{name}{end}" for name in known for end in ("_bucket", "_total")}
    panels = json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    asked += re.findall(r"expr: (.*)", (CHART / "templates" / "monitoring.yaml").read_text())
    assert len(asked) > 12
    for expression in asked:
        names = re.findall(r"deepicd_[a-z_]+", expression)
        assert names
        assert set(names) <= known, expression
