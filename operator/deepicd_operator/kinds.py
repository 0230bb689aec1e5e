"""Every kind of object that the operator uses: its API, whether it is watched, and the rights that the operator needs.

The operator's requests, watches and cache and the chart's Roles follow from this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepicd.kubernetes.kinds import CONFIG_MAP, POD, RUN, Kind
from deepicd.spec.resource_names import KIND

_RBAC, _READ, _WATCH = "rbac.authorization.k8s.io", ("get",), ("get", "list", "watch")


@dataclass(frozen=True)
class Use:
    """What the operator does with a kind."""

    kind: Kind
    verbs: tuple[str, ...]
    """Rights in each namespace that is served, or in the cluster for a cluster-scoped kind."""
    status_verbs: tuple[str, ...] = ()
    """Rights on its status."""
    optional: bool = False
    """The CRD may be missing, or be installed later."""

    @property
    def watched(self) -> bool:
        """Whether objects are listed and watched: all runs, and of other kinds those that the operator created."""
        return "watch" in self.verbs


USES = (
    Use(RUN, (*_WATCH, "delete"), ("update",)),
    Use(Kind("Job", "jobs", "batch"), (*_WATCH, "create", "delete")),
    Use(Kind("RayJob", "rayjobs", "ray.io"), (*_WATCH, "create", "delete"), optional=True),
    Use(Kind("PersistentVolumeClaim", "persistentvolumeclaims"), (*_READ, "create", "delete")),
    # `delete` for pods whose Job was deleted without them.
    Use(POD, ("list", "watch", "delete")),
    # `patch` only because the operator grants it in a run's Role.
    Use(CONFIG_MAP, (*_WATCH, "create", "patch")),
    Use(Kind("ServiceAccount", "serviceaccounts"), (*_READ, "create")),
    Use(Kind("Role", "roles", _RBAC), (*_READ, "create")),
    Use(Kind("RoleBinding", "rolebindings", _RBAC), (*_READ, "create")),
    Use(Kind("NetworkPolicy", "networkpolicies", "networking.k8s.io"), (*_READ, "create")),
    Use(Kind("Event", "events"), ("list", "create")),
    # Optional: to notice a lost node at once instead of after the pod's grace period.
    Use(Kind("Node", "nodes", namespaced=False), _READ),
)
KINDS = {use.kind.name: use.kind for use in USES}
WATCHED = tuple(use for use in USES if use.watched)
JOB, RAY_JOB = "Job", "RayJob"
JOB_KINDS = (JOB, RAY_JOB)
"""An attempt has one object of one of these kinds."""
CREATED_KINDS = tuple(use.kind.name for use in WATCHED if use.kind.name not in (KIND, POD.name))
"""Watched kinds that the operator creates: stored in the cache as soon as they are created."""
