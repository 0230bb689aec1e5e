"""Events about a run. The name follows from the event's identity, so that writing it again has no effect."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any

from deepicd.spec.resource_names import API_VERSION, KIND
from deepicd_operator.events import RunEvent
from deepicd_operator.names import MANAGER, labels


def event(run_event: RunEvent, name: str, namespace: str, uid: str, now: datetime) -> dict[str, Any]:
    """Return the Event object."""
    digest = sha256(f"{uid}/{run_event.identity}".encode()).hexdigest()[:16]
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{digest}", "namespace": namespace, "labels": labels(name, component="operator")},
        "involvedObject": {"apiVersion": API_VERSION, "kind": KIND, "name": name, "namespace": namespace, "uid": uid},
        "type": "Warning" if run_event.warning else "Normal",
        "reason": str(run_event.reason),
        "message": run_event.message[:1024],
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": MANAGER},
    }
