"""The pod template: the trainer's container, the uploader beside it, and their volumes.

It satisfies the restricted Pod Security Standard; only /scratch, /tmp and /dev/shm can be written.
"""

from __future__ import annotations

from typing import Any

from deepicd.spec import environment
from deepicd.spec.base import format_duration, format_size
from deepicd.spec.load import dump
from deepicd.spec.pod_patch import merge
from deepicd.spec.progress import progress_name
from deepicd.spec.resource_names import RUN_ANNOTATION, SYNC, TRAINER
from deepicd.spec.tracking import PASSWORD, TOKEN, USERNAME
from deepicd_operator.resources.attempt import AttemptRequest
from deepicd_operator.resources.volumes import mounts, volumes

FILE_GROUP = 65532
"""Group that may write to volumes; the image's user may be any but root."""

_UPLOADER_CPU, _UPLOADER_MEMORY = 2.0, 2**30
"""The uploader's default limits, in cores and bytes."""

_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod_template(request: AttemptRequest) -> dict[str, Any]:
    """Return the pod's metadata and spec. With several nodes, Ray starts the command, and `deepicd run` itself uploads.

    run.yaml is an annotation, so that it exists as long as the Job and cannot change during the attempt.
    """
    compute = request.spec.compute
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": request.service_account,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": int(request.spec.recovery.grace_period.total_seconds()),
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": FILE_GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_trainer(request)],
        "volumes": volumes(request),
    }
    if request.spec.has_uploader:
        spec["initContainers"] = [_sync(request)]
    optional = {
        "imagePullSecrets": [{"name": name} for name in compute.image_pull_secrets],
        "nodeSelector": dict(compute.node_selector),
        "tolerations": [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in compute.tolerations],
        "affinity": compute.affinity,
        "priorityClassName": compute.priority_class,
        "runtimeClassName": compute.runtime_class,
    }
    spec |= {name: value for name, value in optional.items() if value}
    template = {
        "metadata": {
            "labels": request.pod_labels,
            "annotations": {RUN_ANNOTATION: dump(request.run), "kubectl.kubernetes.io/default-container": TRAINER},
        },
        "spec": spec,
    }
    if (patch := compute.pod_template_patch) is not None:
        template = merge(template, patch.content)
        # The patch cannot change the labels by which the operator finds the pod.
        template["metadata"]["labels"] |= request.pod_labels
    return template


def _trainer(request: AttemptRequest) -> dict[str, Any]:
    return {
        **_container(request, TRAINER),
        **({} if request.on_ray else {"command": list(environment.ATTEMPT_COMMAND)}),
        "resources": _trainer_resources(request),
        "volumeMounts": mounts(request, uploader=False),
    }


def _sync(request: AttemptRequest) -> dict[str, Any]:
    grace = format_duration(request.spec.recovery.grace_period)
    # An init container that always restarts is a sidecar: it is asked to stop after the trainer, within the rest of the grace
    # period. The kubelet runs the hook before it waits for the trainer; the hook records when the grace period began.
    return {
        **_container(request, SYNC),
        "command": [
            "deepicd",
            "sync",
            "--spec",
            environment.RUN_FILE,
            "--dir",
            environment.RUN_FOLDER,
            "--grace",
            grace,
            "--grace-from",
            environment.TERMINATION_MARK,
            "--json",
        ],
        "lifecycle": {"preStop": {"exec": {"command": list(environment.MARK_TERMINATION)}}},
        "restartPolicy": "Always",
        "resources": _uploader_resources(request),
        "volumeMounts": mounts(request, uploader=True),
    }


def _container(request: AttemptRequest, name: str) -> dict[str, Any]:
    compute = request.spec.compute
    container = {
        "name": name,
        "image": compute.image or request.settings.image,
        "env": _environment(request),
        "securityContext": dict(_SECURITY),
        "terminationMessagePolicy": "File",
    }
    if compute.image_pull_policy:
        container["imagePullPolicy"] = compute.image_pull_policy
    return container


def _trainer_resources(request: AttemptRequest) -> dict[str, Any]:
    compute = request.spec.compute
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if compute.cpu is not None:
        requests["cpu"] = _cores(compute.cpu)
    if compute.cpu_limit is not None:
        limits["cpu"] = _cores(compute.cpu_limit)
    if compute.memory is not None:
        requests["memory"] = limits["memory"] = format_size(compute.memory)
    if compute.gpu_resource:
        requests[compute.gpu_resource] = limits[compute.gpu_resource] = str(compute.gpus + request.spec.judge_gpus)
    return {"requests": requests, "limits": limits}


def _uploader_resources(request: AttemptRequest) -> dict[str, Any]:
    uploader = request.spec.compute.uploader
    cpu = uploader.cpu_limit or max(_UPLOADER_CPU, uploader.cpu)
    memory = uploader.memory_limit or max(_UPLOADER_MEMORY, uploader.memory)
    return {
        "requests": {"cpu": _cores(uploader.cpu), "memory": format_size(uploader.memory)},
        "limits": {"cpu": _cores(cpu), "memory": format_size(memory)},
    }


def _cores(number: float) -> str:
    return f"{max(1, round(number * 1000))}m"


def _environment(request: AttemptRequest) -> list[dict[str, Any]]:
    cache = "/cache" if request.spec.compute.model_cache else "/scratch"
    own: list[dict[str, Any]] = [
        {"name": environment.RUN_UID, "value": request.uid},
        {"name": environment.ATTEMPT, "value": str(request.number)},
        {"name": environment.PROGRESS, "value": progress_name(request.name, request.number)},
        {"name": environment.NAMESPACE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        # Compiler caches lock files, so nodes must not share them.
        {"name": "HOME", "value": "/tmp/home" if request.on_ray else "/scratch/home"},  # noqa: S108  (a volume of the pod's own)
        {"name": "USER", "value": "deepicd"},  # torch asks for the user's name, which the image need not know
        {"name": "TMPDIR", "value": "/tmp"},  # noqa: S108  (a volume of the pod's own)
        {"name": "HF_HOME", "value": f"{cache}/huggingface"},
    ]
    if request.spec.has_uploader:
        own.append({"name": environment.SIDECAR, "value": "1"})
    own += _endpoint_keys(request)
    tracking = request.spec.tracking
    if tracking is not None and tracking.mlflow is not None and tracking.mlflow.secret is not None:
        for name in (TOKEN, USERNAME, PASSWORD):
            reference = {"name": tracking.mlflow.secret, "key": name, "optional": True}
            own.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    given: list[dict[str, Any]] = []
    for variable in request.spec.compute.env:
        if variable.secret is not None:
            key = {"name": variable.secret.name, "key": variable.secret.key}
            given.append({"name": variable.name, "valueFrom": {"secretKeyRef": key}})
        else:
            given.append({"name": variable.name, "value": variable.value})
    chosen = {variable["name"] for variable in given}
    return [variable for variable in own if variable["name"] not in chosen] + given


def _endpoint_keys(request: AttemptRequest) -> list[dict[str, Any]]:
    judge, distill = request.spec.reward.judge, request.spec.stages.distill
    keys = {
        environment.JUDGE_API_KEY: None if judge is None else judge.api_key,
        environment.SECOND_JUDGE_API_KEY: None if judge is None or judge.second is None else judge.second.api_key,
        environment.TEACHER_API_KEY: None if distill is None else distill.teacher.api_key,
    }
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": key.secret, "key": environment.ENDPOINT_SECRET_KEY}}}
        for name, key in keys.items()
        if key is not None and key.secret is not None
    ]
