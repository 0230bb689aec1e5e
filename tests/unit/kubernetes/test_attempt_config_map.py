from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from deepicd.artifacts.sync import MissingError
from deepicd.errors import (
    CrashError,
    DeepICDError,
    NotANumberError,
    RewardCodeError,
    RewardCollapsedError,
    StallError,
    StoreError,
    TerminatedError,
    UserError,
)
from deepicd.kubernetes.api import ClusterError
from deepicd.kubernetes.attempt_config_map import (
    Postman,
    ProgressReport,
    failure_of,
    level_metrics,
    send_to,
    write_termination_log,
)
from deepicd.spec.progress import Diagnostics, FailureCode, JudgeTrend, Progress, read_failure, read_progress
from deepicd.training.step_metrics import StepMetrics


class Box:
    """What was sent; the first `failures` sends fail."""

    def __init__(self, failures: int = 0) -> None:
        self.texts: list[str] = []
        self.tries = 0
        self._failures = failures
        self.came = threading.Event()

    def send(self, text: str) -> None:
        self.tries += 1
        if self.tries <= self._failures:
            raise ClusterError("API server: no answer")
        self.texts.append(text)
        self.came.set()

    @property
    def last(self) -> Progress:
        found = read_progress(self.texts[-1])
        assert found is not None
        return found


def test_texts_that_come_faster_than_they_may_be_sent_are_replaced_by_the_newest() -> None:
    box = Box()
    postman = Postman(box.send, interval=30)
    postman.post("1")
    assert box.came.wait(60)
    for text in ("2", "3", "4"):
        postman.post(text)
    postman.close()
    assert box.texts == ["1", "4"]


def test_a_text_that_could_not_be_sent_is_sent_again() -> None:
    box = Box(failures=2)
    postman = Postman(box.send, interval=0.01)
    postman.post("1")
    assert box.came.wait(60)
    postman.close()
    assert box.texts == ["1"]


def test_a_trainer_without_news_repeats_its_last_report(tmp_path: Path) -> None:
    box = Box()
    with ProgressReport(box.send, tmp_path, interval=0, heartbeat=0.05) as report:
        report.stage_started("prepare")
        deadline = time.monotonic() + 60
        while len(box.texts) < 4 and time.monotonic() < deadline:
            box.came.wait(0.01)
    reports = [read_progress(text) for text in box.texts[:4]]
    assert [each.stage for each in reports if each is not None] == ["prepare"] * 4
    times = [each.time for each in reports if each is not None]
    assert times == sorted(set(times))


def test_nothing_is_repeated_before_the_first_report(tmp_path: Path) -> None:
    box = Box()
    with ProgressReport(box.send, tmp_path, interval=0, heartbeat=0.01):
        assert not box.came.wait(0.1)


def test_the_end_does_not_wait_for_an_api_server_that_hangs() -> None:
    released = threading.Event()

    def hang(text: str) -> None:
        released.wait(60)

    postman = Postman(hang, interval=0)
    postman.post("1")
    began = time.monotonic()
    postman.close(seconds=0.05)
    assert time.monotonic() - began < 30
    released.set()


def test_a_report_holds_the_newest_of_each_number(tmp_path: Path) -> None:
    box = Box()
    with ProgressReport(box.send, tmp_path, interval=0) as report:
        report.stage_started("grpo")
        report.step("grpo", StepMetrics(3, reward=0.4, kl=0.01, gradient_norm=0.5, entropy=1.5, gpu_hours_left=30.0), 15, 120.0)
        report.step("grpo", StepMetrics(4, validation_reward=0.5), 15, None)
    last = box.last
    assert (last.stage, last.step, last.steps, last.reward, last.kl) == ("grpo", 4, 15, 0.5, 0.01)
    assert last.diagnostics == Diagnostics(gradient_norm=0.5, entropy=1.5, gpu_hours_left=30.0)
    assert last.eta_seconds is None
    assert last.failure is None


def test_a_report_has_the_judges_course_and_repeats_the_last_validations_judges(tmp_path: Path) -> None:
    box, trend = Box(), JudgeTrend(judge_from=0.2, judge_to=0.6, right_from=0.3, right_to=0.3, diverged=True)
    with ProgressReport(box.send, tmp_path, interval=0) as report:
        report.stage_started("grpo")
        report.step("grpo", StepMetrics(10, gradient_norm=0.5, second_judge=0.4, judges_kappa=0.7, judge_trend=trend), 15, None)
        report.step("grpo", StepMetrics(11, gradient_norm=0.6), 15, None)
    assert box.last.judge == trend
    assert box.last.diagnostics == Diagnostics(gradient_norm=0.6, second_judge=0.4, judges_kappa=0.7)


def test_the_judges_course_outlives_its_stage(tmp_path: Path) -> None:
    box, trend = Box(), JudgeTrend(judge_from=0.2, judge_to=0.6, right_from=0.3, right_to=0.3, diverged=True)
    with ProgressReport(box.send, tmp_path, interval=0) as report:
        report.stage_started("grpo")
        report.step("grpo", StepMetrics(10, judge_trend=trend), 15, None)
        report.stage_started("evaluate")
    assert (box.last.stage, box.last.judge) == ("evaluate", trend)


def test_a_new_stage_begins_without_steps(tmp_path: Path) -> None:
    box = Box()
    with ProgressReport(box.send, tmp_path, interval=0) as report:
        report.step("sft", StepMetrics(130), 130, 0.0)
        report.stage_started("grpo")
    assert (box.last.stage, box.last.step, box.last.steps) == ("grpo", None, None)


def test_the_checkpoint_that_the_attempt_resumed_from_is_reported_in_all_stages(tmp_path: Path) -> None:
    box = Box()
    with ProgressReport(box.send, tmp_path, interval=0) as report:
        report.restored("s3://models/12")
        report.stage_started("sft")
        report.stage_started("grpo")
    assert box.last.resumed_from == "s3://models/12"


def test_the_end_of_an_evaluation_brings_the_metrics_of_the_last_model(tmp_path: Path) -> None:
    levels = {level: {"macroF1": {"value": value}} for level, value in (("chapter", 0.9), ("category", 0.8), ("code", 0.3))}
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "metrics.json").write_text(json.dumps({"sft": {"levels": {}}, "grpo": {"levels": levels}}))
    box = Box()
    with ProgressReport(box.send, tmp_path, interval=0) as report:
        report.stage_finished("evaluate", 3.0, already=False)
    assert box.last.metrics is not None
    assert (box.last.metrics.chapter, box.last.metrics.category, box.last.metrics.code) == (0.9, 0.8, 0.3)


def test_an_evaluation_that_left_no_metrics_has_none(tmp_path: Path) -> None:
    assert level_metrics(tmp_path / "metrics.json") is None


def test_a_failure_is_the_last_report(tmp_path: Path) -> None:
    box = Box()

    def stall() -> None:
        with ProgressReport(box.send, tmp_path, interval=0) as report:
            report.stage_started("grpo")
            raise StallError("no step for 30m (recovery.stallAfter): run again")

    with pytest.raises(StallError):
        stall()
    assert box.last.failure is not None
    assert (box.last.failure.code, box.last.stage) == (FailureCode.STALL, "grpo")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UserError, "BadInput"), (CrashError, "Crashed"), (StallError, "Stalled"), (StoreError, "StoreUnreachable"),
        (TerminatedError, "Terminated"), (NotANumberError, "NotANumber"), (RewardCodeError, "RewardCodeFailed"),
        (RewardCollapsedError, "RewardCollapsed"), (MissingError, "StoreUnreachable"),
    ],
)  # fmt: skip
def test_every_error_has_its_code(kind: type[DeepICDError], code: str) -> None:
    assert failure_of(kind("what")).code == code


def test_a_long_error_is_cut_and_stays_one_line() -> None:
    message = failure_of(CrashError("a\nb" + "c" * 5000)).message
    assert message.startswith("a bc")
    assert len(message) == 1024


def test_the_termination_log_is_written_only_in_a_pod(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    error = UserError("spec.model.path: is no model")
    write_termination_log(error, {"DEEPICD_PROGRESS": "r-a1-progress"}, log)
    assert not log.exists()  # no kubelet has made it
    log.touch()
    write_termination_log(error, {}, log)
    assert log.read_text() == ""
    write_termination_log(error, {"DEEPICD_PROGRESS": "r-a1-progress"}, log)
    assert read_failure(log.read_text()) == failure_of(error)


def test_outside_of_a_pod_nothing_is_sent() -> None:
    assert send_to("progress.json", {}) is None


def test_a_pod_without_access_to_the_api_server_trains_without_reports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    assert send_to("progress.json", {"DEEPICD_PROGRESS": "r-a1-progress", "DEEPICD_NAMESPACE": "n"}) is None
