"""Objects for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.cluster.api import Raw

RESTRICTED = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip


def container(name: str, **fields: Any) -> Raw:
    """A container that the restricted Pod Security Standard admits."""
    return {"name": name, "image": "example.invalid/image:1", "securityContext": RESTRICTED, **fields}


def gpu_pod_spec(gpus: int = 0, *, sidecar: bool = False, **fields: Any) -> Raw:
    """A pod's spec with one container `main`."""
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    spec: Raw = {"restartPolicy": "Never", "containers": [container("main", resources=resources)], **fields}
    if sidecar:
        spec["initContainers"] = [container("sidecar", restartPolicy="Always")]
    return spec


def pod(namespace: str, name: str = "pod", annotations: Mapping[str, str] | None = None, **spec: Any) -> Raw:
    """A pod without an owner."""
    metadata = {"name": name, "namespace": namespace, "annotations": dict(annotations or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": gpu_pod_spec(**spec)}


def job(namespace: str, name: str = "job", annotations: Mapping[str, str] | None = None, **spec: Any) -> Raw:
    """A Job of one pod that is not retried."""
    template = {"metadata": {"annotations": dict(annotations or {})}, "spec": gpu_pod_spec(**spec)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": template},
    }


def condition(content: Raw, kind: str) -> Raw | None:
    """A condition of an object, by its type."""
    conditions = (content.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), None)


def is_true(content: Raw, kind: str) -> bool:
    """Whether a condition holds."""
    found = condition(content, kind)
    return found is not None and found["status"] == "True"
