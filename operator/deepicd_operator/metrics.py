"""What Prometheus scrapes."""

from __future__ import annotations

from collections import Counter as Count
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("deepicd_api_requests", "Requests to the API server.", ["verb", "resource", "code"], **own)
        self.reconciles = Histogram("deepicd_reconcile_seconds", "Time of a reconcile, requests included.", **own)
        self.errors = Counter("deepicd_reconcile_errors", "Reconciles that failed and are repeated.", ["kind"], **own)
        self.queue_age = Gauge("deepicd_queue_age_seconds", "How long the run that waits longest has been due.", **own)
        self.queue_depth = Gauge("deepicd_queue_depth", "Runs that are due or at work.", **own)
        self.runs = Gauge("deepicd_runs", "Runs by state and stage.", ["state", "stage"], **own)
        self.gpu_hours = Gauge("deepicd_gpu_hours", "GPU-hours of all runs that exist.", ["namespace"], **own)
        self.missed = Counter("deepicd_watch_missed", "Changes that a full list found and no watch had told.", ["kind"], **own)
        self.last_contact = Gauge("deepicd_api_last_success_timestamp_seconds", "When the API server last answered.", **own)

    def show_runs(self, runs: Iterable[tuple[str, str, str, float]]) -> None:
        """Set the gauges from (namespace, state, stage, GPU-hours) of every run."""
        places: Count[tuple[str, str]] = Count()
        hours: defaultdict[str, float] = defaultdict(float)
        for namespace, state, stage, spent in runs:
            places[state, stage] += 1
            hours[namespace] += spent
        self.runs.clear()
        self.gpu_hours.clear()
        for (state, stage), number in places.items():
            self.runs.labels(state, stage).set(number)
        for namespace, spent in hours.items():
            self.gpu_hours.labels(namespace).set(spent)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
