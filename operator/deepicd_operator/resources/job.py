"""The Job of an attempt: one pod, tried once. Retries are the operator's, with a new attempt number."""

from __future__ import annotations

from typing import Any

from deepicd.errors import ExitCode
from deepicd.spec.resource_names import TRAINER
from deepicd_operator.resources.attempt import AttemptRequest
from deepicd_operator.resources.pod import pod_template

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


def job(request: AttemptRequest) -> dict[str, Any]:
    """Return the Job. Every failure ends it: a second pod in the same attempt could write to the same place as the first.

    The rules differ only in the message that the Job keeps when the pod is gone.
    """
    metadata = request.metadata(request.attempt_name)
    if request.spec.compute.queue is not None:
        metadata["labels"][QUEUE_LABEL] = request.spec.compute.queue
    user_error, done = int(ExitCode.USER_ERROR), int(ExitCode.DONE)
    disruption = {"type": "DisruptionTarget", "status": "True"}
    rules = [
        {"action": "FailJob", "onExitCodes": {"containerName": TRAINER, "operator": "In", "values": [user_error]}},
        {"action": "FailJob", "onPodConditions": [disruption]},
        {"action": "FailJob", "onExitCodes": {"containerName": TRAINER, "operator": "NotIn", "values": [done]}},
    ]
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "podFailurePolicy": {"rules": rules},
        "podReplacementPolicy": "Failed",
        "template": pod_template(request),
    }
    if request.spec.compute.queue is not None:
        spec["suspend"] = True
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
