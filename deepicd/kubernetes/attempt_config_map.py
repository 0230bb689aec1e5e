"""Reports of an attempt's pod to its ConfigMap. Training never waits for them, and never fails because of them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from deepicd.errors import DeepICDError, UserError
from deepicd.kubernetes.api import Api
from deepicd.phases import PhaseStart
from deepicd.run_layout import RunLayout
from deepicd.spec import environment as names
from deepicd.spec.progress import (
    CHECKPOINT_KEY,
    UPLOAD_KEY,
    Checkpoint,
    Diagnostics,
    Failure,
    FailureCode,
    LevelMetrics,
    Progress,
    Upload,
    write,
)
from deepicd.training.step_metrics import StepMetrics

INTERVAL_SECONDS = 10.0
HEARTBEAT = 60.0
"""Seconds without news after which the trainer repeats its last report: silence would look like a lost connection."""
LAST_WORD_SECONDS = 20.0
"""How long a process waits at its end for its last report."""
TERMINATION_LOG = Path("/dev/termination-log")
MAX_MESSAGE = 1024
_OF_VALIDATIONS = ("second_judge", "judges_agreed", "judges_kappa")
"""Diagnostics that only a validation has: they are repeated until the next one."""

Send = Callable[[str], None]
"""Writes a report's text."""


def send_to(key: str, environment: Mapping[str, str] = os.environ) -> Send | None:
    """A writer of one key of this attempt's ConfigMap; None outside an attempt's pod, or in one without access to the API."""
    name = environment.get(names.PROGRESS)
    if not name:
        return None
    try:
        api = Api(environment.get(names.NAMESPACE))
    except UserError as error:
        structlog.get_logger().warning("progress will not be reported", reason=str(error))
        return None
    return lambda text: api.write_config_map(name, key, text)


class Postman:
    """Sends the newest text from its own thread: immediately, then at most every `interval` seconds."""

    def __init__(
        self,
        send: Send,
        interval: float = INTERVAL_SECONDS,
        again: Callable[[], str | None] | None = None,
        every: float = HEARTBEAT,
    ) -> None:
        """`again`: gives the text to send, or None, when nothing was posted for `every` seconds."""
        self._send = send
        self._interval = interval
        self._again = again or (lambda: None)
        self._silence = every if again else None
        self._change = threading.Condition()
        self._waiting: str | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="deepicd-progress", daemon=True)
        self._thread.start()

    def post(self, text: str) -> None:
        """Send this instead of anything not sent yet."""
        with self._change:
            self._waiting = text
            self._change.notify()

    def close(self, seconds: float = LAST_WORD_SECONDS) -> None:
        """Wait until the last text is sent, at most `seconds`."""
        self._ending.set()
        with self._change:
            self._change.notify()
        self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting is not None or self._ending.is_set(), self._silence)
                text, self._waiting = self._waiting, None
            if text is None and self._ending.is_set():
                return
            text = text or self._again()
            if text is None:
                continue
            try:
                self._send(text)
            except DeepICDError as error:
                structlog.get_logger().warning("progress was not reported", reason=str(error))
                with self._change:
                    # Sent later, unless there is something newer by then.
                    self._waiting = self._waiting or (None if self._ending.is_set() else text)
            self._ending.wait(self._interval)


@contextmanager
def checkpoints_reported() -> Iterator[Callable[[Checkpoint], None] | None]:
    """In a pod, the callback that reports each stored checkpoint to the operator; None elsewhere."""
    send = send_to(CHECKPOINT_KEY)
    if send is None:
        yield None
        return
    postman = Postman(send)
    try:
        yield lambda checkpoint: postman.post(write(checkpoint))
    finally:
        postman.close()


class UploadReport:
    """Reports of an uploader to the operator: each stored checkpoint and, at its end, whether everything is stored."""

    def __init__(self, checkpoints: Postman, ending: Postman) -> None:
        self._checkpoints = checkpoints
        self._ending = ending

    def stored(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is in the store."""
        self._checkpoints.post(write(checkpoint))

    def ended(self, missing: str, seconds: float) -> None:
        """Report what is not stored, if anything; waits for the API server at most `seconds`."""
        self._ending.post(write(Upload(complete=not missing, missing=missing[:MAX_MESSAGE] or None, time=datetime.now(UTC))))
        self.close(seconds)

    def close(self, seconds: float) -> None:
        """Wait until all reports are sent, at most `seconds`."""
        give_up = time.monotonic() + seconds
        for postman in (self._ending, self._checkpoints):
            postman.close(max(0.0, give_up - time.monotonic()))


def upload_report() -> UploadReport | None:
    """The report of a pod's uploader; None elsewhere."""
    checkpoints, ending = send_to(CHECKPOINT_KEY), send_to(UPLOAD_KEY)
    if checkpoints is None or ending is None:
        return None
    return UploadReport(Postman(checkpoints), Postman(ending))


class ProgressReport:
    """A `Reporter` to the operator."""

    def __init__(self, send: Send, folder: Path, interval: float = INTERVAL_SECONDS, heartbeat: float = HEARTBEAT) -> None:
        """`folder`: the run's, for the metrics of a finished evaluation; times in seconds, see `Postman`."""
        self._metrics = RunLayout(folder).evaluation.metrics
        self._state: dict[str, Any] = {}
        self._judges: dict[str, float] = {}
        self._last: Progress | None = None
        self._postman = Postman(send, interval, self._again, heartbeat)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, DeepICDError):
            self._state["failure"] = failure_of(error)
        self._post()
        self._postman.close()

    def restored(self, uri: str) -> None:
        """The next stage resumes from this stored checkpoint."""
        self._state["resumed_from"] = uri

    def stage_started(self, stage: str) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        kept = ("reward", "kl", "judge", "metrics", "resumed_from")
        self._state = {name: self._state[name] for name in kept if name in self._state}
        self._state["stage"] = stage
        self._post()

    def phase(self, stage: str, start: PhaseStart) -> None:
        """Phases are not reported."""

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        reward = row.reward if row.reward is not None else row.validation_reward
        seen = {"reward": reward, "kl": row.kl}
        self._state |= {name: value for name, value in seen.items() if value is not None}
        self._state |= {"stage": stage, "step": row.step, "steps": total, "eta_seconds": eta}
        if row.judge_trend is not None:
            self._state["judge"] = row.judge_trend
        self._judges |= {name: value for name in _OF_VALIDATIONS if (value := getattr(row, name)) is not None}
        if (known := diagnostics_of(row)) is not None:  # a validation alone has none
            self._state["diagnostics"] = known.model_copy(update=self._judges)
        self._post()

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        """See `deepicd.run.reporter.Reporter`."""
        self._state |= {"stage": stage, "eta_seconds": None}
        if stage == "evaluate":
            self._state["metrics"] = level_metrics(self._metrics)
        self._post()

    def _post(self) -> None:
        self._last = Progress(**self._state, time=datetime.now(UTC))
        self._postman.post(write(self._last))

    def _again(self) -> str | None:
        return write(self._last.model_copy(update={"time": datetime.now(UTC)})) if self._last is not None else None


def diagnostics_of(row: StepMetrics) -> Diagnostics | None:
    """The step's diagnostics; None if it has none."""
    known = {name: getattr(row, name) for name in Diagnostics.model_fields}
    return Diagnostics(**known) if row.gradient_norm is not None else None


def level_metrics(path: Path) -> LevelMetrics | None:
    """Macro F1 at the three levels of the model trained last, from metrics.json, or None."""
    try:
        models: dict[str, Any] = json.loads(path.read_text())
        last = list(models.values())[-1]["levels"]
        return LevelMetrics(**{level: last[level]["macroF1"]["value"] for level in LevelMetrics.model_fields})
    except (FileNotFoundError, IndexError):
        return None


def failure_of(error: DeepICDError) -> Failure:
    """The error as the operator reads it."""
    line = " ".join(str(error).split())
    return Failure(code=FailureCode(error.code), message=line[:MAX_MESSAGE])


def write_termination_log(
    error: DeepICDError, environment: Mapping[str, str] = os.environ, log: Path = TERMINATION_LOG
) -> None:
    """In a pod, write the failure where the operator finds it even if the ConfigMap could not be written."""
    if environment.get(names.PROGRESS) and log.exists():
        log.write_text(write(failure_of(error)))
