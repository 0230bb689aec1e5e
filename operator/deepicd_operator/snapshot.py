"""What is known about a run: small views of its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deepicd.spec.progress import Checkpoint, Progress, Upload
from deepicd.spec.resource_names import (
    ATTEMPT_LABEL,
    KIND,
    RAY_CLUSTER_LABEL,
    RAY_NODE_LABEL,
    RUN_UID_LABEL,
    SYNC,
    TRAINER,
)
from deepicd_operator.kinds import RAY_JOB
from deepicd_operator.reasons import Reason
from deepicd_operator.status import RunStatus

Raw = Mapping[str, Any]
_UNKNOWN = "ContainerStatusUnknown"
"""The kubelet's reason for a container that was missing when its pod ended. Its exit code, 137, is not real."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A Job or a RayJob."""

    kind: str
    name: str
    uid: str
    version: str
    attempt: int
    deleting: bool
    suspended: bool
    succeeded: bool
    failed: bool
    message: str
    """Why it failed."""
    invalid: bool = False
    """Whether KubeRay rejects it as invalid."""
    cluster: str = ""
    """Name of the RayCluster that KubeRay creates for a RayJob."""

    @property
    def finished(self) -> bool:
        """Whether all its pods have ended."""
        return self.succeeded or self.failed


@dataclass(frozen=True, slots=True)
class ContainerView:
    """A container's current state and, if it was restarted, how its last launch ended."""

    running_since: datetime | None = None
    waiting: str = ""
    """Reason why it waits."""
    message: str = ""
    """Kubernetes' message about it."""
    exit_code: int | None = None
    ended_as: str = ""
    """Reason of its end, such as OOMKilled."""
    termination_log: str = ""
    started: datetime | None = None
    ended: bool = False
    """Whether it has ended and is not being restarted."""
    ended_at: datetime | None = None
    """When it last ended, whether or not it was restarted."""
    restarts: int = 0
    """Number of restarts."""


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of an attempt."""

    name: str
    uid: str
    owner: str
    """uid of its Job or RayCluster; empty if it has no owner."""
    run: str
    """uid of its run, from its label; empty for pods of older operators."""
    cluster: str
    """Name of its RayCluster, from its label."""
    attempt: int
    created: str
    node: str
    phase: str
    deleting: bool
    gone_by: datetime | None
    """When a pod that is being deleted should be gone."""
    scheduled: bool
    unscheduled_reason: str
    unscheduled_message: str
    disruption: str
    """Reason of the condition DisruptionTarget."""
    reason: str
    """The pod's own reason, such as Evicted."""
    message: str
    head: bool
    trainer: ContainerView
    sync: ContainerView
    uploads: bool
    """Whether it has the container `sync`."""
    others: tuple[str, ...]
    """Names of other main containers that have not ended: injected sidecars, which keep the pod running."""

    @property
    def ended(self) -> bool:
        """Whether all its containers have ended."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An object of the run that the API server refused, and when to try again."""

    reason: Reason
    message: str
    until: datetime


@dataclass(frozen=True)
class Snapshot:
    """Everything a reconcile depends on except the clock and the settings."""

    name: str
    namespace: str
    uid: str
    generation: int
    deleting: bool
    content: Raw
    """apiVersion, kind, metadata.name and spec, as the user wrote them."""
    status: RunStatus
    version: str | None = None
    """The run's, as it was read."""
    jobs: tuple[JobView, ...] = ()
    pods: tuple[PodView, ...] = ()
    orphans: tuple[PodView, ...] = ()
    """Pods of the run whose Job was deleted without them."""
    progress: Progress | None = None
    """Newest report of the newest attempt's trainer."""
    checkpoint: Checkpoint | None = None
    """Newest checkpoint that the attempt's uploader has stored."""
    upload: Upload | None = None
    """Report of the attempt's uploader when it ended."""
    trouble: str = ""
    """Newest warning about a pod that is not created or does not start."""
    lost_nodes: frozenset[str] = frozenset()
    """Nodes that are gone or not ready."""
    refusal: Refusal | None = None
    complete: bool = False
    """Whether all objects of the newest attempt exist: the last one to be created does."""

    def spec_field(self, field: str) -> Any:
        """Return a field of the spec; None if it is missing, or if a looser CRD allowed a spec that is no mapping."""
        spec = self.content["spec"]
        return spec.get(field) if isinstance(spec, Mapping) else None

    def is_refused(self, now: datetime) -> bool:
        """Whether the API server refused an object of the run, and it is too early to try again."""
        return self.refusal is not None and now < self.refusal.until

    @property
    def lacks_objects(self) -> bool:
        """Whether the newest attempt has its Job, but not all other objects."""
        job = self.job(self.status.attempt)
        return job is not None and not job.deleting and not self.complete

    def disruption(self, attempt: int) -> str:
        """Return why the cluster disrupted one of the attempt's pods; empty if it did not."""
        return next((pod.disruption for pod in self.pods if pod.attempt == attempt and pod.disruption), "")

    def job(self, attempt: int) -> JobView | None:
        """Return the Job of an attempt, or None."""
        return next((job for job in self.jobs if job.attempt == attempt), None)

    def pod(self, attempt: int) -> PodView | None:
        """Return the attempt's pod. If there are several: the head of the Ray cluster, otherwise the newest."""
        pods = [pod for pod in self.pods if pod.attempt == attempt]
        return max(pods, key=lambda pod: (pod.head, pod.created, pod.uid), default=None)

    def slowest_pod(self, attempt: int) -> PodView | None:
        """Return the pod that the attempt's start waits for: in a Ray cluster the one furthest behind."""
        pod = self.pod(attempt)
        if pod is None or not pod.head:
            return pod
        pods = [pod for pod in self.pods if pod.attempt == attempt]
        return min(pods, key=_progress_of_start)


def _progress_of_start(pod: PodView) -> tuple[bool, bool, float]:
    started = pod.trainer.started
    return pod.scheduled, started is not None, -started.timestamp() if started else 0.0


def moment(text: Any) -> datetime | None:
    """Parse a time in Kubernetes' format; None if there is none."""
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


def controller(raw: Raw) -> tuple[str, str] | None:
    """Return kind and uid of an object's controller."""
    for reference in raw["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return reference["kind"], reference["uid"]
    return None


def owner(raw: Raw) -> str | None:
    """Return the uid of the run that an object belongs to."""
    found = controller(raw)
    return found[1] if found is not None and found[0] == KIND else None


def attempt_of(raw: Raw) -> int:
    """Return the attempt number in the object's labels; 0 if there is none."""
    text = (raw["metadata"].get("labels") or {}).get(ATTEMPT_LABEL, "")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def job_view(raw: Raw) -> JobView:
    """Return the view of a Job or RayJob."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or () if each.get("status") == "True"}
    succeeded, failed = "Complete" in conditions, "Failed" in conditions
    failure = conditions.get("Failed") or {}
    message, deployment = failure.get("message", ""), status.get("jobDeploymentStatus", "")
    if raw["kind"] == RAY_JOB:
        succeeded = deployment == "Complete" and status.get("jobStatus") == "SUCCEEDED"
        failed = not succeeded and deployment in ("Complete", "Failed", "ValidationFailed")
        # Ray appends the last lines of the command's output.
        message = status.get("message", "").split(", last available logs")[0]
    return JobView(
        kind=raw["kind"],
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        attempt=attempt_of(raw),
        deleting="deletionTimestamp" in metadata,
        suspended=bool(spec.get("suspend")),
        succeeded=succeeded,
        failed=failed,
        message=message,
        invalid=deployment == "ValidationFailed",
        cluster=status.get("rayClusterName") or "",
    )


def pod_view(raw: Raw) -> PodView:
    """Return the view of a pod."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    placed = conditions.get("PodScheduled") or {}
    disruption = conditions.get("DisruptionTarget") or {}
    node = (raw.get("spec") or {}).get("nodeName") or ""
    containers = status.get("containerStatuses") or ()
    labels, owned = metadata.get("labels") or {}, controller(raw)
    init = (raw.get("spec") or {}).get("initContainers") or ()
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        owner=owned[1] if owned is not None else "",
        run=labels.get(RUN_UID_LABEL, ""),
        cluster=labels.get(RAY_CLUSTER_LABEL, ""),
        attempt=attempt_of(raw),
        created=metadata.get("creationTimestamp") or "",
        node=node,
        phase=status.get("phase") or "Pending",
        deleting="deletionTimestamp" in metadata,
        gone_by=moment(metadata.get("deletionTimestamp")),
        scheduled=bool(node),
        unscheduled_reason=placed.get("reason", "") if placed.get("status") == "False" else "",
        unscheduled_message=placed.get("message", "") if placed.get("status") == "False" else "",
        disruption=disruption.get("reason", "Disruption") if disruption.get("status") == "True" else "",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        head=labels.get(RAY_NODE_LABEL) == "head",
        trainer=_container(containers, TRAINER),
        sync=_container(status.get("initContainerStatuses") or (), SYNC),
        uploads=any(each.get("name") == SYNC for each in init),
        others=tuple(
            each["name"] for each in containers if each["name"] != TRAINER and "terminated" not in (each.get("state") or {})
        ),
    )


def _container(statuses: Iterable[Raw], name: str) -> ContainerView:
    found = next((each for each in statuses if each.get("name") == name), None)
    if found is None:
        return ContainerView()
    state = found.get("state") or {}
    running, waiting = state.get("running") or {}, state.get("waiting") or {}
    last = (found.get("lastState") or {}).get("terminated")
    ended = state.get("terminated") or last or {}
    if ended.get("reason") == _UNKNOWN and last:
        # It was waiting for a restart when the pod ended: only its last launch is known.
        ended = last
    return ContainerView(
        running_since=moment(running.get("startedAt")),
        waiting=waiting.get("reason", ""),
        message=waiting.get("message", "") or "",
        exit_code=ended.get("exitCode"),
        ended_as=ended.get("reason", "") or "",
        termination_log=(ended.get("message") or "")[:4096],
        started=moment(running.get("startedAt")) or moment(ended.get("startedAt")),
        ended="terminated" in state,
        ended_at=moment(ended.get("finishedAt")),
        restarts=found.get("restartCount") or 0,
    )
