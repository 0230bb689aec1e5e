"""The RayJob of an attempt on several nodes: KubeRay creates the Ray cluster, and the head runs the command.

The RayJob sets what KubeRay would otherwise guess: the number of GPUs and (logical) CPUs of a node, whatever resource names the
GPUs are requested by, and the probes. KubeRay's own probes need `wget`, which the trainer's image does not have.
"""

from __future__ import annotations

import shlex
from typing import Any

from deepicd.spec.environment import ATTEMPT_COMMAND, RUN_FOLDER
from deepicd_operator.kinds import RAY_JOB
from deepicd_operator.resources.attempt import AttemptRequest
from deepicd_operator.resources.job import QUEUE_LABEL
from deepicd_operator.resources.pod import pod_template

HEALTH_PORT = 52365
"""Port of the agent on each Ray node, Ray's default."""
_FIXED_CPUS, _CPUS_PER_GPU = 16, 4
"""Logical CPUs that verl's processes request from Ray: 3 for each GPU, and the others for processes without a GPU."""


def rayjob(request: AttemptRequest) -> dict[str, Any]:
    """Return the RayJob: a head and `nodes - 1` workers. A hook stops the run's processes in a pod before the pod ends."""
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
        "kind": RAY_JOB,
        "metadata": metadata,
        "spec": {
            "entrypoint": _entrypoint(),
            # KubeRay itself submits the command. The other modes add a container that a restricted namespace does not
            # admit.
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
    """Return the command for a shell on the head.

    - It runs once per attempt. If a head is lost, KubeRay creates another one and submits the command again, while the lost
      one may still write. The operator's next attempt has a separate folder.
    - Ray sends its stop signal (SIGINT) to all processes at once, which would end training before its checkpoint. The pod's
      preStop hook signals only `deepicd run`.
    - Its output goes to the pod's log.
    """
    return f"mkdir {RUN_FOLDER} && trap '' INT && exec {shlex.join(ATTEMPT_COMMAND)} >/proc/1/fd/1 2>&1"


def _node(request: AttemptRequest) -> dict[str, Any]:
    template = pod_template(request)
    trainer = template["spec"]["containers"][0]
    grace = int(request.spec.recovery.grace_period.total_seconds())
    ours = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # By default Ray runs its workers at nice 15, which starves them on a busy node.
        "RAY_worker_niceness": "0",
        "RAY_JOB_STOP_SIGNAL": "SIGINT",
        "RAY_JOB_STOP_WAIT_TIME_S": str(grace),
    }
    given = {variable["name"] for variable in trainer["env"]}
    trainer["env"] += [{"name": name, "value": value} for name, value in ours.items() if name not in given]
    health = {"httpGet": {"path": "/api/healthz", "port": HEALTH_PORT}, "timeoutSeconds": 5}
    trainer.setdefault("readinessProbe", {**health, "periodSeconds": 5, "failureThreshold": 12})
    trainer.setdefault("livenessProbe", {**health, "initialDelaySeconds": 60, "periodSeconds": 10, "failureThreshold": 30})
    trainer.setdefault("lifecycle", {"preStop": {"exec": {"command": ["python", "-m", "deepicd.kubernetes.pre_stop"]}}})
    return template


def _worker(request: AttemptRequest) -> dict[str, Any]:
    """Return the template of a worker, which shares its process namespace.

    KubeRay adds a container that waits for the head. It is a shell, which ignores SIGTERM as the first process of its
    namespace. A pod deleted during that wait would hold its GPUs for the whole grace period.
    """
    template = _node(request)
    template["spec"].setdefault("shareProcessNamespace", True)
    return template
