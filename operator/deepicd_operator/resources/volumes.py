"""The pod's volumes and where they are mounted."""

from __future__ import annotations

from typing import Any

from deepicd.spec.base import format_size
from deepicd.spec.environment import S3_SECRET, S3_SECRET_KEYS, S3_SESSION_TOKEN
from deepicd.spec.resource_names import RUN_ANNOTATION
from deepicd_operator.resources.attempt import AttemptRequest


def volumes(request: AttemptRequest) -> list[dict[str, Any]]:
    """Return all volumes of the pod."""
    compute = request.spec.compute
    field = {"fieldPath": f"metadata.annotations['{RUN_ANNOTATION}']"}
    made: list[dict[str, Any]] = [
        {"name": "run", "downwardAPI": {"items": [{"path": "run.yaml", "fieldRef": field}]}},
        {"name": "scratch", **_scratch(request)},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": format_size(compute.shared_memory)}},
    ]
    if request.on_ray:
        # Scratch is shared between the nodes, but each pod needs separate sockets and caches of Ray.
        made.append({"name": "temporary", "emptyDir": {}})
    if compute.model_cache is not None:
        made.append({"name": "model-cache", "persistentVolumeClaim": {"claimName": compute.model_cache}})
    if (secret := _secret_name(request)) is not None:
        made.append({"name": "s3", "projected": {"defaultMode": 0o440, "sources": _secret_sources(secret)}})
    for number, volume in enumerate(compute.data_volumes):
        if volume.claim is not None:
            source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": volume.claim, "readOnly": True}}
        elif volume.config_map is not None:
            source = {"configMap": {"name": volume.config_map}}
        else:
            source = {"secret": {"secretName": volume.secret}}
        made.append({"name": f"data-{number}", **source})
    return made


def mounts(request: AttemptRequest, *, uploader: bool) -> list[dict[str, Any]]:
    """Return the mounts of the trainer's container, or of the uploader's, which needs neither shared memory nor models."""
    compute = request.spec.compute
    made: list[dict[str, Any]] = [
        {"name": "run", "mountPath": "/etc/deepicd", "readOnly": True},
        {"name": "scratch", "mountPath": "/scratch"},
        {"mountPath": "/tmp", **({"name": "temporary"} if request.on_ray else {"name": "scratch", "subPath": "tmp"})},  # noqa: S108  (a volume of the pod's own)
    ]
    if not uploader:
        made.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108  (a volume of the pod's own)
        if compute.model_cache is not None:
            made.append({"name": "model-cache", "mountPath": "/cache"})
    if _secret_name(request) is not None:
        made.append({"name": "s3", "mountPath": S3_SECRET, "readOnly": True})
    for number, volume in enumerate(compute.data_volumes):
        mount: dict[str, Any] = {"name": f"data-{number}", "mountPath": volume.path, "readOnly": True}
        made.append(mount | ({"subPath": volume.sub_path} if volume.sub_path else {}))
    return made


def scratch_claim(request: AttemptRequest) -> dict[str, Any]:
    """Return the claim that the attempt's pods on all nodes write to.

    Its owner is the run, not the pod or the Job: it outlives both, with what was not uploaded, until the operator deletes it.
    """
    scratch = request.spec.compute.scratch
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": request.metadata(request.attempt_name),
        "spec": {
            "accessModes": ["ReadWriteMany" if request.on_ray else "ReadWriteOnce"],
            "storageClassName": scratch.storage_class,
            "resources": {"requests": {"storage": format_size(scratch.size)}},
        },
    }


def _scratch(request: AttemptRequest) -> dict[str, Any]:
    if request.scratch_claim is not None:
        return {"persistentVolumeClaim": {"claimName": request.scratch_claim}}
    return {"emptyDir": {"sizeLimit": format_size(request.spec.compute.scratch.size)}}


def _secret_name(request: AttemptRequest) -> str | None:
    storage = request.spec.storage
    if storage is None or storage.s3 is None or storage.s3.credentials is None:
        return None
    return storage.s3.credentials.secret_name


def _secret_sources(name: str) -> list[dict[str, Any]]:
    # Listing the keys means that a missing key is reported in an event before the trainer starts.
    needed = [{"key": key, "path": key} for key in S3_SECRET_KEYS]
    token = {"key": S3_SESSION_TOKEN, "path": S3_SESSION_TOKEN}
    return [{"secret": {"name": name, "items": needed}}, {"secret": {"name": name, "items": [token], "optional": True}}]
