from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from deepicd.spec.progress import (
    MAX_PROGRESS_BYTES,
    Diagnostics,
    Failure,
    FailureCode,
    LevelMetrics,
    Progress,
    Upload,
    progress_name,
    read_failure,
    read_progress,
    read_upload,
    write,
)

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


def test_a_report_survives_being_written_and_read() -> None:
    report = Progress(
        stage="grpo", step=3, steps=15, reward=0.4, kl=0.01, eta_seconds=90, metrics=LevelMetrics(category=0.5), time=NOON,
        diagnostics=Diagnostics(entropy=1.5, mfu=0.4),
        failure=Failure(code=FailureCode.STALL, message="no step"),
    )  # fmt: skip
    assert read_progress(write(report)) == report


def test_a_failure_survives_being_written_and_read() -> None:
    failure = Failure(code=FailureCode.NOT_A_NUMBER, message="loss is NaN")
    assert read_failure(write(failure)) == failure


def test_the_end_of_an_upload_survives_being_written_and_read() -> None:
    upload = Upload(complete=False, missing="grpo step 10, logs", time=NOON)
    assert read_upload(write(upload)) == upload


def test_fields_of_a_newer_trainer_are_ignored() -> None:
    assert read_progress('{"time": "2026-04-01T12:00:00Z", "inventedLater": 1}') == Progress(time=NOON)


def test_a_report_that_is_too_long_is_not_read() -> None:
    assert read_progress(write(Progress(time=NOON)) + " " * MAX_PROGRESS_BYTES) is None


def test_numbers_that_json_does_not_have_are_refused() -> None:
    assert read_progress('{"time": "2026-04-01T12:00:00Z", "reward": NaN}') is None


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert read_progress(text) is None
    assert read_failure(text) is None
    assert read_upload(text) is None


def test_the_config_map_is_named_after_run_and_attempt() -> None:
    assert progress_name("quickstart", 2) == "quickstart-a2-progress"
