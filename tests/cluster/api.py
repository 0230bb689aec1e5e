"""What tests do with a cluster: objects are plain dictionaries, as the API server sends them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from lightkube import ApiError, Client, KubeConfig
from lightkube.types import CascadeType, PatchType

from deepicd.kubernetes.api import resource_class

Raw = dict[str, Any]
Raws = list[Raw]
T = TypeVar("T")

_PLACES: tuple[tuple[str, str, str, str], ...] = (
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "Event", "events"),
    ("", "v1", "LimitRange", "limitranges"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "ResourceQuota", "resourcequotas"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "Service", "services"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("batch", "v1", "Job", "jobs"),
    ("coordination.k8s.io", "v1", "Lease", "leases"),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    ("deepicd.io", "v1alpha1", "DeepICDRun", "deepicdruns"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("ray.io", "v1", "RayCluster", "rayclusters"),
    ("ray.io", "v1", "RayJob", "rayjobs"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
)
_GLOBAL_PLACES: tuple[tuple[str, str, str, str], ...] = (
    ("", "v1", "Namespace", "namespaces"),
    ("", "v1", "Node", "nodes"),
    ("", "v1", "PersistentVolume", "persistentvolumes"),
    ("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings"),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses"),
)
RESOURCES: dict[str, Any] = {kind: resource_class(group, version, kind, plural) for group, version, kind, plural in _PLACES}
RESOURCES |= {
    kind: resource_class(group, version, kind, plural, namespaced=False) for group, version, kind, plural in _GLOBAL_PLACES
}


class Api:
    """Requests as one user of one API server (or of a proxy before it).

    Every method raises `lightkube.ApiError` where the API server refuses.
    """

    def __init__(self, kubeconfig: Path, timeout: float = 30) -> None:
        config = KubeConfig.from_file(kubeconfig)
        # Objects are plain dictionaries here, which lightkube's overloads do not foresee.
        self._client: Any = Client(
            config=config, timeout=httpx2.Timeout(timeout), field_manager="deepicd-tests", trust_env=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def create(self, content: Mapping[str, Any]) -> Raw:
        """Make an object; its namespace is in its metadata."""
        place = RESOURCES[content["kind"]]
        return dict(self._client.create(place(content), **_in(content["metadata"].get("namespace"))))

    def try_out(self, content: Mapping[str, Any]) -> Raw:
        """What an object would become, without making it; unknown fields are refused, as `kubectl` has it."""
        generic, namespace = self._client._client, content["metadata"].get("namespace")
        prepared = generic.prepare_request("post", obj=RESOURCES[content["kind"]](content), **_in(namespace))
        prepared.params |= {"dryRun": "All", "fieldValidation": "Strict"}
        answer = generic.send(generic.build_adapter_request(prepared))
        generic.raise_for_status(answer)
        return dict(answer.json())

    def apply(self, content: Mapping[str, Any]) -> Raw:
        """Make or change an object, server-side."""
        place = RESOURCES[content["kind"]]
        return dict(self._client.apply(place(content), force=True, **_in(content["metadata"].get("namespace"))))

    def get(self, kind: str, name: str, namespace: str | None = None) -> Raw:
        """One object."""
        return dict(self._client.get(RESOURCES[kind], name, **_in(namespace)))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Raw | None:
        """One object, or None where there is none."""
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, **labels: str) -> Raws:
        """All objects of a kind with these labels (`_` stands for `-`); without a namespace those of all."""
        selector = {name.replace("_", "-"): value for name, value in labels.items()} or None
        everywhere = {"namespace": namespace or "*"} if kind not in {place[2] for place in _GLOBAL_PLACES} else {}
        found = self._client.list(RESOURCES[kind], chunk_size=500, labels=selector, **everywhere)
        return [{**each, "kind": kind} for each in found]

    def patch(self, kind: str, name: str, namespace: str | None, change: Any, *, status: bool = False) -> Raw:
        """Merge a change into an object (a list: JSON patch), or into its status subresource."""
        place = RESOURCES[kind].Status if status else RESOURCES[kind]
        how = PatchType.JSON if isinstance(change, list) else PatchType.MERGE
        return dict(self._client.patch(place, name, change, patch_type=how, **_in(namespace)))

    def delete(
        self, kind: str, name: str, namespace: str | None = None, grace: int | None = None, *, orphan: bool = False
    ) -> None:
        """Delete an object and what it owns (`orphan`: but not that); that it is gone already is fine."""
        cascade = CascadeType.ORPHAN if orphan else CascadeType.BACKGROUND
        try:
            self._client.delete(RESOURCES[kind], name, grace_period=grace, cascade=cascade, **_in(namespace))
        except ApiError as error:
            if error.status.code != 404:
                raise

    def evict(self, pod: Mapping[str, Any]) -> None:
        """Evict a pod, as a drained node does."""
        metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
        self.post(path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})

    def post(self, path: str, content: Mapping[str, Any]) -> None:
        """Write what no resource above stands for."""
        generic = self._client._client
        generic.raise_for_status(generic._client.post(path, json=dict(content)))

    def events(self, content: Mapping[str, Any]) -> Raws:
        """The events about an object, oldest first."""
        metadata = content["metadata"]
        fields = {"involvedObject.uid": metadata["uid"]}
        found = self._client.list(RESOURCES["Event"], namespace=metadata["namespace"], fields=fields)
        return sorted(
            (dict(each) for each in found), key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or "")
        )

    def pods_of(self, job: str, namespace: str) -> Raws:
        """The pods of a Job."""
        selector = {"batch.kubernetes.io/job-name": job}
        return [{**each, "kind": "Pod"} for each in self._client.list(RESOURCES["Pod"], namespace=namespace, labels=selector)]


def wait_for(condition: Callable[[], T | None], seconds: float = 30, what: str | Callable[[], object] = "") -> T:
    """What a condition gives, once that is something; it fails with `what` is missing or there instead.

    A 404 counts as nothing: what is waited for may not be there yet.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        try:
            found = condition()
        except ApiError as error:
            if error.status.code != 404:
                raise
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s: {what() if callable(what) else what}")
        # A look at a hundred objects takes the server's time from what is waited for.
        time.sleep(min(0.5, max(0.05, 3 * (time.monotonic() - began))))


def refusal(error: ApiError) -> str:
    """Why the API server refused."""
    return f"{error.status.code}: {error.status.message}"


def _in(namespace: str | None) -> dict[str, str]:
    return {} if namespace is None else {"namespace": namespace}
