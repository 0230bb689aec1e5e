from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console, RenderableType

from deepicd.cli.cluster_view import news, one_run, show_age, table_of

START = "2026-04-01T12:00:00Z"
GONE = "the pod's node is gone: none: the run goes on elsewhere"
STATUS: dict[str, Any] = {
    "observedGeneration": 1, "state": "Running", "reason": "Running", "stage": "grpo", "attempt": 3,
    "gpuHours": 4.2, "cost": 12.6,
    "columns": {"step": "120/1406", "reward": "0.41", "kl": "0.012", "f1Category": "", "eta": "9h", "gpuHours": "4.2"},
    "lastVerifiedCheckpoint": {"stage": "grpo", "step": 100, "uri": "s3://models/q/attempts/2/checkpoints/step-000100"},
    "metrics": {"category": 0.8},
    "diagnostics": {"entropy": 1.5, "mfu": 0.41},
    "conditions": [
        {"type": "Accepted", "status": "True", "reason": "Valid", "message": "the spec is valid"},
        {"type": "StepsStalled", "status": "True", "reason": "Stalled", "message": "no step for recovery.stallAfter"},
    ],
    "attempts": [
        {"number": 1, "start": START, "end": START, "reason": "NodeLost", "exitCode": 137, "node": "gpu-3", "message": GONE},
        {"number": 2, "start": START, "end": START, "reason": "NodeLost", "node": "gpu-4", "message": GONE},
        {"number": 3, "start": START},
    ],
}  # fmt: skip
NO_ROOM = "no node has room for the pod (0/4 nodes are available): free or add nodes"


def waiting(reason: str, message: str) -> dict[str, Any]:
    """The status of a run that waits for its first pod."""
    conditions = [{"type": kind, "status": "False", "reason": reason, "message": message} for kind in ("Scheduled", "Running")]
    attempts = [{"number": 1, "start": START}]
    return {
        "observedGeneration": 1,
        "state": "Pending",
        "reason": reason,
        "attempt": 1,
        "conditions": conditions,
        "attempts": attempts,
    }


def run(name: str = "deepicd-r1-7b", **status: Any) -> dict[str, Any]:
    # From now, not from the start of the tests, which may be minutes ago.
    made = (datetime.now(UTC) - timedelta(minutes=71)).isoformat()
    return {"metadata": {"name": name, "creationTimestamp": made}, "spec": {}, "status": status}


def shown(what: RenderableType, width: int = 120) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_the_table_has_a_row_for_each_run() -> None:
    lines = shown(table_of([run(**STATUS), run()])).splitlines()
    assert lines[0].split() == ["NAME", "STATE", "REASON", "STAGE", "STEP", "REWARD", "KL", "F1", "ATTEMPT", "ETA", "AGE"]
    assert lines[1].split() == ["deepicd-r1-7b", "Running", "grpo", "120/1406", "0.41", "0.012", "3", "9h", "1h11m"]
    assert len(lines) == 3


def test_the_table_shows_the_reason_where_it_is_another_word_than_the_state() -> None:
    (line,) = shown(table_of([run(**waiting("Unschedulable", NO_ROOM))])).splitlines()[1:]
    assert line.split()[:3] == ["deepicd-r1-7b", "Pending", "Unschedulable"]


def test_active_runs_come_first() -> None:
    runs = [run("a", state="Succeeded"), run("b", state="Pending"), run("d", state="Running"), run("c", state="Running"),
            run("e", state="Failed"), run("f"), run("g", state="Suspended")]  # fmt: skip
    assert [line.split()[0] for line in shown(table_of(runs)).splitlines()[1:]] == ["c", "d", "b", "f", "g", "e", "a"]


def test_a_running_row_with_all_numbers_fits_80_columns() -> None:
    header, line = shown(table_of([run(**STATUS)]), width=80).splitlines()
    assert header.split()[-1] == "AGE"
    assert "0.012" in line
    assert line.rstrip().endswith("1h11m")


def test_a_narrow_terminal_goes_without_columns_and_cuts_no_name_state_or_reason_off() -> None:
    long_one = run("a-name-of-thirty-characters-42", **waiting("Unschedulable", NO_ROOM))
    header, *lines = shown(table_of([long_one, run(**STATUS)]), width=80).splitlines()
    assert header.split() == ["NAME", "STATE", "REASON", "STAGE", "STEP", "ETA", "AGE"]
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)


def test_no_runs_say_how_to_start_one() -> None:
    assert "deepicd submit" in shown(table_of([]))


def test_one_run_shows_checkpoint_cost_conditions_and_attempts() -> None:
    text = shown(one_run(run(**STATUS)))
    for expected in ("grpo step 100", "s3://models/q", "cost 12.60", "category 0.800", "no step for recovery.stallAfter",
                     "entropy 1.500, MFU 41 %", "NodeLost", "137", "gpu-3"):  # fmt: skip
        assert expected in text


def test_attempts_have_a_line_each_and_equal_messages_are_shown_once() -> None:
    lines = shown(one_run(run(**STATUS)), width=80).splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("ATTEMPT"))
    assert [line.split()[:2] for line in lines[begin + 1 : begin + 4]] == [
        ["1", "NodeLost"],
        ["2", "NodeLost"],
        ["3", "Running"],
    ]
    assert [line.strip() for line in lines if GONE in line] == [f"2: {GONE}"]


def test_the_message_of_the_runs_reason_follows_the_first_line_and_is_shown_once() -> None:
    lines = shown(one_run(run(**waiting("Unschedulable", NO_ROOM)))).splitlines()
    assert [line.strip() for line in lines[:2]] == ["deepicd-r1-7b: Pending (Unschedulable), attempt 1", NO_ROOM]
    assert sum(NO_ROOM in line for line in lines) == 1


def test_conditions_that_are_as_they_should_be_say_nothing() -> None:
    text = shown(one_run(run(**STATUS)))
    assert "StepsStalled: no step for recovery.stallAfter" in text
    assert "the spec is valid" not in text


def test_attempts_that_are_no_longer_listed_are_summed_up() -> None:
    text = shown(one_run(run(**STATUS, earlier={"attempts": 7, "seconds": 3600})))
    assert "1 to 7" in text


def test_an_age_of_days_has_no_minutes() -> None:
    assert show_age((datetime.now(UTC) - timedelta(days=3, hours=4, minutes=5)).isoformat()) == "3d04h"


def test_news_are_state_reason_attempt_and_step() -> None:
    assert news(run(**STATUS)) == "Running, attempt 3, grpo 120/1406"
    assert news(run(**waiting("Unschedulable", NO_ROOM))) == "Pending (Unschedulable), attempt 1"
    assert news(run()).startswith("not seen by the operator yet")
    assert news(run(observedGeneration=-1, state="Pending", reason="", attempt=0)).startswith("not seen by the operator yet")
