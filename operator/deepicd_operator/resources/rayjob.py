"""The RayJob of an attempt on several nodes: KubeRay makes the Ray cluster, the run's command goes to its head."""

from __future__ import annotations

import shlex
from typing import Any

from deepicd_operator.resources.attempt import AttemptRequest
from deepicd_operator.resources.job import QUEUE_LABEL
from deepicd_operator.resources.pod import TRAIN_COMMAND, pod_template


def rayjob(request: AttemptRequest) -> dict[str, Any]:
    """The head holds the first node's GPUs and the uploader; the other nodes are one group of workers."""
    compute = request.spec.compute
    metadata = request.metadata(request.attempt_name)
    if compute.queue is not None:
        metadata["labels"][QUEUE_LABEL] = compute.queue
    worker = pod_template(request, command=False)
    # The run's folder is the head's alone: workers have nothing to upload.
    worker["spec"].pop("initContainers", None)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata,
        "spec": {
            "entrypoint": shlex.join(TRAIN_COMMAND),
            "backoffLimit": 0,
            "shutdownAfterJobFinishes": True,
            "suspend": compute.queue is not None,
            "rayClusterSpec": {
                "headGroupSpec": {"rayStartParams": {}, "template": pod_template(request, command=False)},
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        "replicas": compute.nodes - 1,
                        "minReplicas": compute.nodes - 1,
                        "maxReplicas": compute.nodes - 1,
                        "rayStartParams": {},
                        "template": worker,
                    }
                ],
            },
        },
    }
