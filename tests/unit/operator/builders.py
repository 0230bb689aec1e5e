"""Objects as the API server would send them, in a fluent style, and their views."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import yaml

from deepicd.spec.progress import Checkpoint, Progress, Upload
from deepicd.spec.resource_names import API_VERSION, KIND, RUN_UID_LABEL
from deepicd_operator.names import attempt_name, labels
from deepicd_operator.reconcile import Decision, reconcile
from deepicd_operator.settings import Settings
from deepicd_operator.snapshot import JobView, PodView, Refusal, Snapshot, job_view, pod_view
from deepicd_operator.status import RunStatus, read_status, write_status
from tests.by_path import changed

NOON = datetime(2026, 4, 1, 12, 0, 0, tzinfo=UTC)
SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
SETTINGS = Settings(image="registry.example/trainer:1", admission_policy=True)
NAME, UID = "night-run", "0b5c5f0e-run"
DIGEST = "a" * 64


def at(seconds: float) -> datetime:
    """Return a time after noon."""
    return NOON + timedelta(seconds=seconds)


def spec(**changes: Any) -> dict[str, Any]:
    """The quickstart's spec with a store, and fields set by path (double underscores for dots)."""
    content: dict[str, Any] = yaml.safe_load((SAMPLES / "quickstart.yaml").read_text())["spec"]
    content["storage"] = {"s3": {"bucket": "models", "credentials": {"secretName": "s3-keys"}}}
    content["recovery"] = {"stallAfter": "5m", "backoff": "10s", "maxAttempts": 3}
    return changed(content, changes)


def iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class JobMade:
    """A Job of an attempt."""

    def __init__(self, attempt: int = 1, uid: str | None = None) -> None:
        metadata = {"name": attempt_name(NAME, attempt), "uid": uid or f"job-{attempt}", "resourceVersion": "7"}
        owner = {"apiVersion": API_VERSION, "kind": KIND, "name": NAME, "uid": UID, "controller": True}
        self.raw: dict[str, Any] = {
            "kind": "Job",
            "metadata": {**metadata, "labels": labels(NAME, attempt), "ownerReferences": [owner]},
            "spec": {},
            "status": {},
        }

    def suspended(self) -> Self:
        self.raw["spec"]["suspend"] = True
        return self

    def complete(self) -> Self:
        self.raw["status"]["conditions"] = [{"type": "Complete", "status": "True"}]
        return self

    def failed(self, message: str = "Job has reached the specified backoff limit") -> Self:
        self.raw["status"]["conditions"] = [
            {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": message}
        ]
        return self

    def deleting(self) -> Self:
        self.raw["metadata"]["deletionTimestamp"] = iso(NOON)
        return self

    def view(self) -> JobView:
        return job_view(self.raw)


class RayJobMade(JobMade):
    """The RayJob of an attempt on several nodes."""

    def __init__(self, attempt: int = 1) -> None:
        super().__init__(attempt)
        self.raw["kind"] = "RayJob"

    def is_at(self, deployment: str, job: str = "", message: str = "") -> Self:
        self.raw["status"] = {"jobDeploymentStatus": deployment, "jobStatus": job, "message": message}
        return self


class PodMade:
    """A pod of an attempt, at first pending and unscheduled."""

    def __init__(self, attempt: int = 1) -> None:
        self.raw: dict[str, Any] = {
            "metadata": {
                "name": f"{attempt_name(NAME, attempt)}-x", "uid": f"pod-{attempt}", "creationTimestamp": iso(NOON),
                "labels": {**labels(NAME, attempt), RUN_UID_LABEL: UID},
                "ownerReferences": [{"kind": "Job", "uid": f"job-{attempt}", "controller": True}],
            },
            "spec": {"initContainers": [{"name": "sync"}]},
            "status": {"phase": "Pending", "conditions": []},
        }  # fmt: skip

    def unschedulable(self, message: str = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.") -> Self:
        return self.condition("PodScheduled", "False", "Unschedulable", message)

    def condition(self, kind: str, status: str, reason: str, message: str = "") -> Self:
        conditions = [each for each in self.raw["status"]["conditions"] if each["type"] != kind]
        conditions.append({"type": kind, "status": status, "reason": reason, "message": message})
        self.raw["status"]["conditions"] = conditions
        return self

    def placed(self, node: str = "node-1") -> Self:
        self.raw["spec"]["nodeName"] = node
        return self.condition("PodScheduled", "True", "")

    def container(self, state: dict[str, Any], name: str = "trainer", **more: Any) -> Self:
        kind = "initContainerStatuses" if name == "sync" else "containerStatuses"
        self.raw["status"][kind] = [{"name": name, "state": state, **more}]
        return self

    def waiting(self, reason: str, message: str = "", name: str = "trainer") -> Self:
        return self.placed().container({"waiting": {"reason": reason, "message": message}}, name)

    def running(self, since: datetime = NOON) -> Self:
        self.placed()
        self.raw["status"]["phase"] = "Running"
        return self.container({"running": {"startedAt": iso(since)}})

    def ended(self, code: int, reason: str = "Error", message: str = "", name: str = "trainer") -> Self:
        self.placed()
        if name == "trainer":
            self.raw["status"]["phase"] = "Failed" if code else "Succeeded"
            self.raw["status"].setdefault("initContainerStatuses", [{"name": "sync", "state": {"terminated": {"exitCode": 0}}}])
        state = {"exitCode": code, "reason": reason, "message": message, "startedAt": iso(NOON), "finishedAt": iso(at(60))}
        return self.container({"terminated": state}, name)

    def kept_by(self, name: str = "istio-proxy") -> Self:
        """An injected container keeps running."""
        self.raw["status"]["phase"] = "Running"
        self.raw["status"]["containerStatuses"].append({"name": name, "state": {"running": {"startedAt": iso(NOON)}}})
        return self

    def disrupted(self, reason: str) -> Self:
        return self.condition("DisruptionTarget", "True", reason)

    def given_up(self, reason: str, message: str = "The node had condition: [PIDPressure]. ") -> Self:
        """Its kubelet evicts it."""
        self.raw["status"] |= {"phase": "Failed", "reason": reason, "message": message}
        return self

    def deleting(self, gone_by: datetime = NOON) -> Self:
        self.raw["metadata"]["deletionTimestamp"] = iso(gone_by)
        return self

    def of_ray(self, kind: str) -> Self:
        """`head` or `worker` of a Ray cluster."""
        self.raw["metadata"]["labels"]["ray.io/node-type"] = kind
        self.raw["spec"].pop("initContainers", None)
        self.raw["metadata"]["uid"] += f"-{kind}"
        return self

    def view(self) -> PodView:
        return pod_view(self.raw)


def report(when: datetime = NOON, **fields: Any) -> Progress:
    """A report of an attempt."""
    return Progress.model_validate({"stage": "grpo", "step": 3, "steps": 15, "time": when, **fields})


def checkpoint(step: int = 10, when: datetime = NOON) -> Checkpoint:
    """A checkpoint that an attempt's uploader has stored."""
    return Checkpoint(stage="grpo", step=step, uri=f"s3://models/{step}", sha256=DIGEST, time=when)


class Story:
    """A run, step by step: each `now` reconciles and keeps the status as the API server would."""

    def __init__(self, **changes: Any) -> None:
        self.spec = spec(**changes)
        self.status = RunStatus()
        self.generation = 1
        self.name = NAME
        self.decision = Decision()
        self.time = NOON
        self.settings = SETTINGS
        self.events: list[str] = []

    def snapshot(
        self,
        *objects: JobMade | PodMade,
        progress: Progress | None = None,
        stored: Checkpoint | None = None,
        upload: Upload | None = None,
        orphans: tuple[PodMade, ...] = (),
        trouble: str = "",
        lost: frozenset[str] = frozenset(),
        refusal: Refusal | None = None,
        deleting: bool = False,
        complete: bool | None = None,
    ) -> Snapshot:
        return Snapshot(
            name=self.name,
            namespace="research",
            uid=UID,
            generation=self.generation,
            deleting=deleting,
            content={
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": self.name},
                "spec": copy.deepcopy(self.spec),
            },
            status=self.status,
            jobs=tuple(each.view() for each in objects if isinstance(each, JobMade)),
            pods=tuple(each.view() for each in objects if isinstance(each, PodMade)),
            progress=progress,
            checkpoint=stored,
            upload=upload,
            orphans=tuple(each.view() for each in orphans),
            trouble=trouble,
            lost_nodes=lost,
            refusal=refusal,
            complete=any(isinstance(each, JobMade) for each in objects) if complete is None else complete,
        )

    def now(self, seconds: float, *objects: JobMade | PodMade, **seen: Any) -> Decision:
        """Reconcile at a time after noon with these objects."""
        self.time = at(seconds)
        self.decision = reconcile(self.snapshot(*objects, **seen), self.time, self.settings)
        if self.decision.status is not None:
            kept = read_status(write_status(self.decision.status))
            assert kept == self.decision.status
            self.status = kept
        self.events += [event.reason for event in self.decision.events]
        return self.decision

    @property
    def looks_again_in(self) -> float | None:
        """Seconds after which the last decision asks for another reconcile."""
        again = self.decision.look_again
        return None if again is None else (again - self.time).total_seconds()

    @property
    def made(self) -> list[str]:
        """Kinds and names of the objects that the last decision creates."""
        return [f"{each['kind']}/{each['metadata']['name']}" for group in self.decision.create for each in group]

    @property
    def deleted(self) -> list[str]:
        """Kinds and names of the objects that the last decision deletes."""
        return [f"{each.kind}/{each.name}" for each in self.decision.delete]

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = next(each for each in self.status.conditions if each.type == kind)
        return found.status, found.reason

    def message(self, kind: str) -> str:
        return next(each.message for each in self.status.conditions if each.type == kind)

    def running(self, **changes: Any) -> Self:
        """The first attempt runs."""
        self.now(0)
        self.now(1, JobMade(), PodMade().running(at(1)))
        return self
