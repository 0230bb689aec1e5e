"""Sends each step's metrics to the trackers of `spec.tracking`. Training never waits for them, and never fails by them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from deepicd.artifacts.identity import run_path
from deepicd.errors import TerminatedError
from deepicd.evaluation.levels import Level
from deepicd.evaluation.result_files import read_metrics
from deepicd.phases import PhaseStart
from deepicd.run.mlflow import MlflowRun, TrackerError, Value
from deepicd.run.tensorboard import EventFiles
from deepicd.run_layout import RunLayout
from deepicd.spec.environment import RUN_UID
from deepicd.spec.run import DeepICDRun
from deepicd.training.step_metrics import StepMetrics

LAST_WORD_SECONDS = 20.0
"""How long a run waits at its end for what the tracker has not got yet."""
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 300.0
_MOST_WAITING = 100_000
"""Values that are kept for a server that does not answer: the oldest are dropped."""
_BATCH = 1000


def values_of(row: StepMetrics) -> dict[str, float]:
    """What a step measures, by the names of curves.jsonl; `terms/NAME` for each term of the reward."""
    content = row.to_json()
    terms = {f"terms/{name}": value for name, value in content.pop("terms").items()}
    del content["step"]
    extra = {"gpuHours": row.gpu_hours, "gpuHoursLeft": row.gpu_hours_left}
    return {name: value for name, value in {**content, **extra, **terms}.items() if value is not None}


def parameters_of(run: DeepICDRun) -> dict[str, str]:
    """The settings that decide the result, by their paths; without paths of data and the prompt's text."""
    content = run.spec.decisive
    chosen = {name: content[name] for name in ("seed", "reward", "stages")}
    chosen["model"] = {name: value for name, value in content["model"].items() if name != "prompt"}
    chosen["gpus"] = run.spec.compute.gpus * run.spec.compute.nodes
    return dict(_flat("", chosen))


def _flat(path: str, content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from _flat(f"{path}.{name}" if path else name, value)
    elif content is not None:
        yield path, content if isinstance(content, str) else json.dumps(content)


class MlflowSender:
    """Sends values to an MLflow server from its own thread."""

    def __init__(
        self, mlflow: MlflowRun, name: str, identity: str | None, parameters: Mapping[str, str], wait: float = _FIRST_WAIT
    ) -> None:
        """See `MlflowRun.open`; `wait`: seconds after the first failure, doubled after each further one."""
        self._mlflow, self._opening, self._wait = mlflow, (name, identity, parameters), wait
        self._waiting: deque[Value] = deque(maxlen=_MOST_WAITING)
        self._change = threading.Condition()
        self._status = ""
        self._opened = self._failing = False
        self._thread = threading.Thread(target=self._work, name="deepicd-mlflow", daemon=True)
        self._thread.start()

    def add(self, values: list[Value]) -> None:
        """Send these when the server takes them."""
        with self._change:
            self._waiting.extend(values)
            self._change.notify()

    def end(self, status: str, seconds: float = LAST_WORD_SECONDS) -> None:
        """Send what is left and end the run there; wait for it at most `seconds`."""
        with self._change:
            self._status = status
            self._change.notify()
        self._thread.join(seconds)
        if self._thread.is_alive() or self._waiting:
            structlog.get_logger().warning("tracking: MLflow did not get everything", values=len(self._waiting))

    def _work(self) -> None:
        wait = self._wait
        while True:
            batch, status = self._next()
            try:
                self._deliver(batch, status)
            except TrackerError as error:
                self._report(error)
                with self._change:
                    room = _MOST_WAITING - len(self._waiting)
                    self._waiting.extendleft(reversed(batch[max(0, len(batch) - room) :]))
                    if status or not error.passing:
                        return
                    self._change.wait_for(lambda: self._status, wait)
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            wait = self._wait
            if self._failing:
                structlog.get_logger().info("tracking: MLflow answers again")
                self._failing = False
            if status and not self._waiting:
                return

    def _next(self) -> tuple[list[Value], str]:
        """The next values, at most 1,000, and the run's status at its end."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._status or not self._opened)
            return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))], self._status

    def _deliver(self, batch: list[Value], status: str) -> None:
        if not self._opened:
            self._mlflow.open(*self._opening)
            self._opened = True
        if batch:
            self._mlflow.log(batch)
        if status and not self._waiting:
            self._mlflow.end(status)

    def _report(self, error: TrackerError) -> None:
        """Warn, once until the server answers again."""
        if not self._failing:
            structlog.get_logger().warning("tracking: training continues without MLflow", reason=str(error))
        self._failing = True


class Trackers:
    """A `Reporter` to the trackers of a run, and its context: it opens them, and ends them with the run."""

    def __init__(
        self,
        run: DeepICDRun,
        folder: Path,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`folder`: the run's.

        Raises:
            UserError: a package is missing.
        """
        self._layout, self._clock = RunLayout(folder), clock
        chosen = run.spec.tracking
        self._files = None
        self._mlflow: MlflowSender | None = None
        if chosen is not None and chosen.tensorboard is not None:
            self._files = EventFiles(self._layout.tensorboard)
        if chosen is not None and chosen.mlflow is not None:
            folder.mkdir(parents=True, exist_ok=True)
            mlflow = MlflowRun(chosen.mlflow, self._layout.mlflow, environment)
            # Where it may continue on another machine, its folder is not what it is known by.
            everywhere = run.spec.storage is not None or RUN_UID in environment
            identity = run_path(run, environment) if everywhere else None
            self._mlflow = MlflowSender(mlflow, run.metadata.name, identity, parameters_of(run))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._files is not None:
            self._files.close()
        if self._mlflow is not None:
            stopped = isinstance(error, (TerminatedError, KeyboardInterrupt))
            self._mlflow.end("FINISHED" if error is None else "KILLED" if stopped else "FAILED")

    def stage_started(self, stage: str) -> None:
        """See `Reporter`."""

    def phase(self, stage: str, start: PhaseStart) -> None:
        """See `Reporter`."""

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """See `Reporter`."""
        self._send(stage, row.step, values_of(row))

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        """See `Reporter`. The evaluation's macro F1 of each model is sent too."""
        if stage != "evaluate" or already:
            return
        for model, metrics in read_metrics(self._layout.evaluation.metrics).items():
            levels: Mapping[str, Any] = metrics["levels"]
            found = {f"{model}/macroF1/{level}": levels[level]["macroF1"]["value"] for level in Level}
            self._send("evaluate", 0, {name: value for name, value in found.items() if value is not None})

    def _send(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        if self._files is not None:
            try:
                self._files.log(stage, step, values)
            except OSError as error:
                structlog.get_logger().warning("tracking: TensorBoard's files are not written", reason=error.strerror)
                self._files = None
        if self._mlflow is not None:
            self._mlflow.add([Value(f"{stage}/{name}", value, step, self._clock()) for name, value in values.items()])
