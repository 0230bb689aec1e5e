"""The operator's Prometheus metrics."""

from __future__ import annotations

from collections import Counter as Count
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from deepicd_operator.conditions import Condition, ConditionType
from deepicd_operator.reasons import Reason
from deepicd_operator.status import RunStatus

_PROBLEMS = (
    ConditionType.FAILED,
    ConditionType.STEPS_STALLED,
    ConditionType.REWARD_COLLAPSED,
    ConditionType.JUDGE_DIVERGED,
)


class RunFigures(NamedTuple):
    """The figures of one run."""

    namespace: str
    name: str
    state: str
    stage: str
    gpu_hours: float
    problems: tuple[tuple[str, str], ...]
    """Type and reason of conditions that need attention."""
    steps_since_checkpoint: int | None
    """None if the run is not running, or its stage saves no checkpoints."""

    @classmethod
    def of(cls, namespace: str, name: str, status: RunStatus) -> Self:
        """Return the figures of a run's status."""
        problems = tuple((each.type, each.reason) for each in status.conditions if each.type in _PROBLEMS and _shows(each))
        since = None
        if status.state == "Running" and status.stage in ("sft", "grpo") and status.step is not None:
            last = status.last_verified_checkpoint
            since = max(0, status.step - (last.step if last is not None and last.stage == status.stage else 0))
        return cls(namespace, name, status.state, status.stage or "", status.gpu_hours, problems, since)


def _shows(condition: Condition) -> bool:
    return condition.status == "True" or condition.reason == Reason.NO_REPORT


class Metrics:
    """The operator's metrics, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("deepicd_api_requests", "Requests to the API server.", ["verb", "resource", "code"], **own)
        self.reconciles = Histogram("deepicd_reconcile_seconds", "Time of a reconcile, requests included.", **own)
        self.errors = Counter("deepicd_reconcile_errors", "Reconciles that failed and are retried.", ["kind"], **own)
        self.errors.labels("bug")  # initialised to 0, so that an alert sees the first one
        self.queue_age = Gauge("deepicd_queue_age_seconds", "How long the run that waits longest has been due.", **own)
        self.queue_depth = Gauge("deepicd_queue_depth", "Runs that are due or being reconciled.", **own)
        self.runs = Gauge("deepicd_runs", "Runs by state and stage.", ["state", "stage"], **own)
        self.gpu_hours = Gauge("deepicd_gpu_hours", "GPU-hours of all runs that exist.", ["namespace"], **own)
        self.problems = Gauge(
            "deepicd_run_problem",
            "1 while a run has failed, makes no steps, sends no reports, has a collapsed reward, or a judge that alone rises.",
            ["namespace", "run", "type", "reason"], **own,
        )  # fmt: skip
        self.steps_since_checkpoint = Gauge(
            "deepicd_run_steps_since_checkpoint", "Steps of the running stage since its last durable checkpoint.",
            ["namespace", "run"], **own,
        )  # fmt: skip
        self.missed = Counter("deepicd_watch_missed", "Changes that a full list found and the watches missed.", ["kind"], **own)
        self.last_contact = Gauge(
            "deepicd_api_last_success_timestamp_seconds", "When the API server last accepted a request.", **own
        )

    def show_runs(self, runs: Iterable[RunFigures]) -> None:
        """Set the gauges from the figures of every run."""
        places: Count[tuple[str, str]] = Count()
        hours: defaultdict[str, float] = defaultdict(float)
        for gauge in (self.runs, self.gpu_hours, self.problems, self.steps_since_checkpoint):
            gauge.clear()
        for run in runs:
            places[run.state, run.stage] += 1
            hours[run.namespace] += run.gpu_hours
            for kind, reason in run.problems:
                self.problems.labels(run.namespace, run.name, kind, reason).set(1)
            if run.steps_since_checkpoint is not None:
                self.steps_since_checkpoint.labels(run.namespace, run.name).set(run.steps_since_checkpoint)
        for (state, stage), number in places.items():
            self.runs.labels(state, stage).set(number)
        for namespace, spent in hours.items():
            self.gpu_hours.labels(namespace).set(spent)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
