"""Every request the operator makes, as RBAC rules: the chart's Role is made from them, and a test compares."""

from __future__ import annotations

from typing import Any

from deepicd.spec.resource_names import GROUP, PLURAL

Rule = dict[str, Any]


def _rule(group: str, resource: str, *verbs: str) -> Rule:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


NAMESPACED: tuple[Rule, ...] = (
    _rule(GROUP, PLURAL, "get", "list", "watch", "delete"),
    _rule(GROUP, f"{PLURAL}/status", "update"),
    _rule("batch", "jobs", "get", "list", "watch", "create", "delete"),
    _rule("ray.io", "rayjobs", "get", "list", "watch", "create", "delete"),
    _rule("", "persistentvolumeclaims", "get", "create", "delete"),
    # `delete` for pods whose Job was deleted without them.
    _rule("", "pods", "list", "watch", "delete"),
    # `patch` only so that it may be given to a run's own Role.
    _rule("", "configmaps", "get", "list", "watch", "create", "patch"),
    _rule("", "serviceaccounts", "get", "create"),
    _rule("rbac.authorization.k8s.io", "roles", "get", "create"),
    _rule("rbac.authorization.k8s.io", "rolebindings", "get", "create"),
    _rule("networking.k8s.io", "networkpolicies", "get", "create"),
    _rule("", "events", "list", "create"),
)
"""In each namespace that is served."""

CLUSTER: tuple[Rule, ...] = (_rule("", "nodes", "get"),)
"""Optional: to know a lost node at once instead of after the pod's grace period."""
