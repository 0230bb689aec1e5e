"""The RayJob of an attempt on several nodes: KubeRay makes the Ray cluster, the run's command goes to its head.

KubeRay is told what it would otherwise guess: how many GPUs and (logical) CPUs a node has, whatever they are asked for by,
and how to see that a node is well; its own probes need `wget`, which the trainer's image has not.
"""

from __future__ import annotations

import shlex
from typing import Any

from deepicd.spec.environment import ATTEMPT_COMMAND, RUN_FOLDER
from deepicd_operator.resources.attempt import AttemptRequest
from deepicd_operator.resources.job import QUEUE_LABEL
from deepicd_operator.resources.pod import pod_template

HEALTH_PORT = 52365
"""Port of the agent on each Ray node, Ray's default."""
_FIXED_CPUS, _CPUS_PER_GPU = 16, 4
"""Logical CPUs that verl's processes ask Ray for: 3 with each GPU, the rest for those without one."""


def rayjob(request: AttemptRequest) -> dict[str, Any]:
    """Head and `nodes - 1` workers; a hook ends what is the run's in a pod before the pod."""
    compute = request.spec.compute
    metadata = request.metadata(request.attempt_name)
    if compute.queue is not None:
        metadata["labels"][QUEUE_LABEL] = compute.queue
    start = {
        "num-cpus": str(_FIXED_CPUS + _CPUS_PER_GPU * compute.gpus),
        "num-gpus": str(compute.gpus),
        "disable-usage-stats": "true",
    }
    workers = compute.nodes - 1
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata,
        "spec": {
            "entrypoint": _entrypoint(),
            # KubeRay itself submits the command. The other modes run a container of KubeRay's making, which no restricted
            # namespace admits.
            "submissionMode": "HTTPMode",
            "backoffLimit": 0,
            "shutdownAfterJobFinishes": True,
            "suspend": compute.queue is not None,
            "rayClusterSpec": {
                "headGroupSpec": {"rayStartParams": dict(start), "template": _node(request)},
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        "replicas": workers,
                        "minReplicas": workers,
                        "maxReplicas": workers,
                        "rayStartParams": dict(start),
                        "template": _worker(request),
                    }
                ],
            },
        },
    }


def _entrypoint() -> str:
    """The command for a shell on the head.

    - Once for each attempt: where a head is lost KubeRay makes another one, and submits the command again, while the lost one
      may still write. The operator's next attempt has a folder of its own.
    - Ray's stop signal (SIGINT) goes to every process at once, and would end training before its checkpoint; the pod's
      preStop hook asks `deepicd run` alone.
    - What it prints belongs into the pod's log.
    """
    return f"mkdir {RUN_FOLDER} && trap '' INT && exec {shlex.join(ATTEMPT_COMMAND)} >/proc/1/fd/1 2>&1"


def _node(request: AttemptRequest) -> dict[str, Any]:
    template = pod_template(request)
    trainer = template["spec"]["containers"][0]
    grace = int(request.spec.recovery.grace_period.total_seconds())
    ours = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray runs its workers at nice 15, where they starve on a busy node.
        "RAY_worker_niceness": "0",
        "RAY_JOB_STOP_SIGNAL": "SIGINT",
        "RAY_JOB_STOP_WAIT_TIME_S": str(grace),
    }
    given = {variable["name"] for variable in trainer["env"]}
    trainer["env"] += [{"name": name, "value": value} for name, value in ours.items() if name not in given]
    well = {"httpGet": {"path": "/api/healthz", "port": HEALTH_PORT}, "timeoutSeconds": 5}
    trainer.setdefault("readinessProbe", {**well, "periodSeconds": 5, "failureThreshold": 12})
    trainer.setdefault("livenessProbe", {**well, "initialDelaySeconds": 60, "periodSeconds": 10, "failureThreshold": 30})
    trainer.setdefault("lifecycle", {"preStop": {"exec": {"command": ["python", "-m", "deepicd.kubernetes.pre_stop"]}}})
    return template


def _worker(request: AttemptRequest) -> dict[str, Any]:
    """KubeRay adds a container that waits for the head: a shell, which heeds no SIGTERM where it is its namespace's first
    process. A pod that is told to end meanwhile would hold its GPUs for the whole grace period.
    """
    template = _node(request)
    template["spec"].setdefault("shareProcessNamespace", True)
    return template
