from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console, RenderableType

from deepicd.cli.cluster_view import news, one_run, table_of

START = "2026-04-01T12:00:00Z"
STATUS = {
    "state": "Running", "reason": "Running", "stage": "grpo", "attempt": 2, "gpuHours": 4.2, "cost": 12.6,
    "columns": {"step": "120/1406", "reward": "0.41", "kl": "0.012", "f1Category": "", "eta": "9h", "gpuHours": "4.2"},
    "lastVerifiedCheckpoint": {"stage": "grpo", "step": 100, "uri": "s3://models/q/attempts/2/checkpoints/step-000100"},
    "metrics": {"category": 0.8},
    "conditions": [{"type": "Stalled", "status": "True", "reason": "Stalled", "message": "no step for recovery.stallAfter"}],
    "attempts": [
        {"number": 1, "start": START, "end": START, "reason": "NodeLost", "exitCode": 137, "node": "gpu-3", "message": "gone"},
        {"number": 2, "start": START},
    ],
}  # fmt: skip


def run(**status: Any) -> dict[str, Any]:
    # From now, not from the start of the tests, which may be minutes ago.
    made = (datetime.now(UTC) - timedelta(minutes=71)).isoformat()
    return {"metadata": {"name": "deepicd-r1-7b", "creationTimestamp": made}, "spec": {}, "status": status}


def shown(what: RenderableType) -> str:
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_the_table_has_a_row_for_each_run() -> None:
    lines = shown(table_of([run(**STATUS), run()])).splitlines()
    assert lines[0].split() == ["NAME", "STATE", "STAGE", "STEP", "REWARD", "KL", "F1", "ATTEMPT", "ETA", "AGE"]
    assert lines[1].split() == ["deepicd-r1-7b", "Running", "grpo", "120/1406", "0.41", "0.012", "2", "9h", "1h11m"]
    assert len(lines) == 3


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(table_of([run(**STATUS)]))
    assert capture.get().splitlines()[1].rstrip().endswith("1h11m")


def test_no_runs_say_how_to_start_one() -> None:
    assert "deepicd submit" in shown(table_of([]))


def test_one_run_shows_checkpoint_cost_conditions_and_attempts() -> None:
    text = shown(one_run(run(**STATUS)))
    for expected in ("grpo step 100  s3://models/q", "cost 12.60", "category 0.800", "no step for recovery.stallAfter",
                     "NodeLost", "137", "gpu-3"):  # fmt: skip
        assert expected in text


def test_news_are_state_reason_attempt_and_step() -> None:
    assert news(run(**STATUS)) == "Running, attempt 2, grpo 120/1406"
    assert news(run(state="Pending", reason="Unschedulable", attempt=1)) == "Pending (Unschedulable), attempt 1"
    assert "operator" in news(run())
