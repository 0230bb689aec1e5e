"""The pods' ServiceAccount and its only right: to patch the ConfigMap of their attempt."""

from __future__ import annotations

from typing import Any

from deepicd.spec.progress import progress_name
from deepicd_operator.resources.attempt import AttemptRequest


def service_account(request: AttemptRequest) -> dict[str, Any]:
    """Return the run's ServiceAccount. All attempts use the same name, so that a cloud's IAM roles can refer to it."""
    metadata = request.metadata(request.service_account, of_attempt=False)
    if annotations := request.spec.compute.service_account.annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False}


def role(request: AttemptRequest) -> dict[str, Any]:
    """Return a Role that allows patching one ConfigMap by name."""
    allowed = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [progress_name(request.name, request.number)],
        "verbs": ["patch"],
    }
    metadata = request.metadata(request.attempt_name)
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [allowed]}


def role_binding(request: AttemptRequest) -> dict[str, Any]:
    """Return the binding of the Role to the pods' ServiceAccount."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": request.metadata(request.attempt_name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": request.attempt_name},
        "subjects": [{"kind": "ServiceAccount", "name": request.service_account, "namespace": request.namespace}],
    }
