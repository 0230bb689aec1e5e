from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepicd.errors import CrashError, DeepICDError, TerminatedError
from deepicd.evaluation.metrics_schema import SCHEMA
from deepicd.run import trackers
from deepicd.run.mlflow import MlflowRun, TrackerError, Value
from deepicd.run.trackers import MlflowSender, Trackers, parameters_of, values_of
from deepicd.spec.load import load, parse
from deepicd.spec.run import DeepICDRun
from deepicd.spec.tracking import MlflowSpec
from deepicd.training.step_metrics import StepMetrics
from tests.mlflow_server import StandIn, stand_in

SAMPLE = Path(__file__).parents[3] / "manifests" / "samples" / "quickstart.yaml"
ROW = StepMetrics(3, reward=0.5, loss=-0.1, entropy=1.5, terms={"outcome": 0.25}, gpu_hours=2.0)


@pytest.fixture
def mlflow() -> Iterator[tuple[str, StandIn]]:
    with stand_in() as (address, served):
        yield address, served


def tracked(tracking: dict[str, Any], **spec: Any) -> DeepICDRun:
    content = yaml.safe_load(SAMPLE.read_text())
    content["spec"] |= {"tracking": tracking, **spec}
    return parse(content, "run.yaml")


def by_mlflow(address: str, **spec: Any) -> DeepICDRun:
    return tracked({"mlflow": {"uri": address, "experiment": "coding"}}, **spec)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_steps_values_have_the_names_of_the_curves() -> None:
    assert values_of(ROW) == {"reward": 0.5, "loss": -0.1, "entropy": 1.5, "gpuHours": 2.0, "terms/outcome": 0.25}


def test_parameters_are_what_decides_the_result_without_data_and_prompt() -> None:
    found = parameters_of(load(SAMPLE))
    assert found["stages.grpo.maxResponseTokens"] == "48"
    assert found["stages.grpo.rollouts"].isdecimal()
    assert found["seed"].isdecimal()
    assert not [name for name in found if name.startswith(("data", "model.prompt", "storage"))]


def test_mlflow_gets_every_step_and_the_end(mlflow: tuple[str, StandIn], tmp_path: Path) -> None:
    address, served = mlflow
    with Trackers(by_mlflow(address), tmp_path / "run", {}, clock=lambda: 1e9) as trackers:
        trackers.step("sft", StepMetrics(1, loss=2.0), 5, None)
        trackers.step("grpo", ROW, 5, None)
    [run] = served.runs.values()
    assert (run["info"]["run_name"], run["info"]["status"]) == ("quickstart", "FINISHED")
    assert [(row["key"], row["value"], row["step"]) for row in run["history"]] == [
        ("sft/loss", 2.0, 1), ("grpo/reward", 0.5, 3), ("grpo/loss", -0.1, 3), ("grpo/entropy", 1.5, 3),
        ("grpo/gpuHours", 2.0, 3), ("grpo/terms/outcome", 0.25, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(("error", "status"), [(TerminatedError, "KILLED"), (CrashError, "FAILED")])
def test_a_run_that_ends_otherwise_says_so(
    error: type[DeepICDError], status: str, mlflow: tuple[str, StandIn], tmp_path: Path
) -> None:
    address, served = mlflow
    with pytest.raises(error), Trackers(by_mlflow(address), tmp_path / "run", {}):
        raise error("x")
    assert [run["info"]["status"] for run in served.runs.values()] == [status]


def test_one_run_is_continued_over_launches_and_with_a_store_over_machines(mlflow: tuple[str, StandIn], tmp_path: Path) -> None:
    address, served = mlflow
    for folder, spec in (
        ("first", {"storage": {"folder": "/x"}}), ("first", {"storage": {"folder": "/x"}}),
        ("second", {"storage": {"folder": "/x"}}), ("third", {}), ("fourth", {}),
    ):  # fmt: skip
        with Trackers(by_mlflow(address, **spec), tmp_path / folder, {}) as trackers:
            trackers.step("grpo", ROW, 5, None)
    assert [len(run["history"]) for run in served.runs.values()] == [15, 5, 5]


def test_what_a_server_did_not_take_is_sent_when_it_answers_again(mlflow: tuple[str, StandIn], tmp_path: Path) -> None:
    address, served = mlflow
    served.failure = 503
    with structlog.testing.capture_logs() as logs:
        run = MlflowRun(MlflowSpec(uri=address, experiment="e"), tmp_path / "id", {})
        sender = MlflowSender(run, "quick", None, {}, wait=0.01)
        trackers = Trackers(load(SAMPLE), tmp_path, {})
        trackers._mlflow = sender
        for step in range(1, 4):
            trackers.step("grpo", StepMetrics(step, reward=0.5), 5, None)
        eventually(lambda: len(served.requests) > 3)
        served.failure = None
        eventually(lambda: bool(served.runs) and len(served.runs["run0"]["history"]) == 3)
        sender.end("FINISHED")
    assert [row["step"] for row in served.runs["run0"]["history"]] == [1, 2, 3]
    assert [line["event"] for line in logs] == [
        "tracking: training continues without MLflow",
        "tracking: MLflow answers again",
    ]


def test_of_too_many_values_the_oldest_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "_MOST_WAITING", 3)
    asked, answer, sent = threading.Event(), threading.Event(), list[Value]()
    values = [Value("reward", float(step), step, 0) for step in range(4)]

    class Silent(MlflowRun):
        def open(self, *_: object) -> None:
            """It answers."""

        def log(self, batch: Sequence[Value]) -> None:
            if not asked.is_set():
                asked.set()
                answer.wait(30)
                raise TrackerError("does not answer")
            sent.extend(batch)

        def end(self, status: str) -> None:
            """It answers."""

    sender = MlflowSender(Silent.__new__(Silent), "quick", None, {}, wait=0.01)
    sender.add(values[:2])
    assert asked.wait(30)
    sender.add(values[2:])
    answer.set()
    sender.end("FINISHED")
    assert sent == values[1:]


def test_a_server_out_of_reach_neither_fails_nor_holds_up_the_run(tmp_path: Path) -> None:
    run = by_mlflow("http://127.0.0.1:1")
    with structlog.testing.capture_logs() as logs, Trackers(run, tmp_path / "run", {}) as trackers:
        for step in range(100):
            trackers.step("grpo", StepMetrics(step, reward=0.5), 100, None)
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "tracking: training continues without MLflow"),
        ("warning", "tracking: MLflow did not get everything"),
    ]
    assert logs[1]["values"] == 100


def test_a_server_that_refuses_is_not_asked_again(mlflow: tuple[str, StandIn], tmp_path: Path) -> None:
    address, served = mlflow
    served.failure = 401
    with Trackers(by_mlflow(address), tmp_path / "run", {}) as trackers:
        for step in range(20):
            trackers.step("grpo", StepMetrics(step, reward=0.5), 20, None)
    assert len(served.requests) == 1


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_tensorboard_shows_each_stage_and_a_repeated_step_once(tmp_path: Path) -> None:
    run = tracked({"tensorboard": {}})
    for steps, reward in (((1, 2, 3), 0.25), ((2, 3, 4), 0.5)):
        with Trackers(run, tmp_path, {}) as trackers:
            trackers.step("sft", StepMetrics(1, loss=2.0), 5, None)
            for step in steps:
                trackers.step("grpo", StepMetrics(step, reward=reward, terms={"outcome": 1.0}), 5, None)
        time.sleep(1.1)  # a file's name has the second in which it was made
    grpo = tmp_path / "tensorboard" / "grpo"
    assert scalars(grpo, "reward") == [(1, 0.25), (2, 0.5), (3, 0.5), (4, 0.5)]
    assert scalars(grpo, "terms/outcome")[0] == (1, 1.0)
    assert scalars(tmp_path / "tensorboard" / "sft", "loss") == [(1, 2.0)]


def test_a_folder_that_takes_no_events_is_reported(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    with structlog.testing.capture_logs() as logs, Trackers(tracked({"tensorboard": {}}), tmp_path, {}) as trackers:
        trackers.step("grpo", ROW, 5, None)
        trackers.step("grpo", ROW, 5, None)
    assert [line["event"] for line in logs] == ["tracking: TensorBoard's files are not written"]


def test_the_evaluation_of_each_model_is_sent(mlflow: tuple[str, StandIn], tmp_path: Path) -> None:
    address, served = mlflow
    levels = {name: {"macroF1": {"value": value}} for name, value in (("chapter", 0.9), ("category", 0.8), ("code", 0.5))}
    place = tmp_path / "run" / "evaluate"
    place.mkdir(parents=True)
    (place / "metrics.json").write_text(json.dumps({"sft": {"schema": SCHEMA, "levels": levels}}))
    with Trackers(by_mlflow(address), tmp_path / "run", {}) as trackers:
        trackers.stage_finished("evaluate", 5.0, already=False)
    assert [(row["key"], row["value"]) for row in served.runs["run0"]["history"]] == [
        ("evaluate/sft/macroF1/chapter", 0.9), ("evaluate/sft/macroF1/category", 0.8), ("evaluate/sft/macroF1/code", 0.5),
    ]  # fmt: skip
