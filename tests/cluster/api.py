"""A client for tests. Objects are dictionaries, as the API server sends them."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import urllib3
import yaml

from deepicd.kubernetes.kinds import Kind
from deepicd_operator.kinds import KINDS as OF_OPERATOR

Raw = dict[str, Any]
Raws = list[Raw]
T = TypeVar("T")
BUSY = 4
"""How much longer than on an idle machine a wait may take: a test process shares its cores."""

_FURTHER = (
    Kind("LimitRange", "limitranges"),
    Kind("ResourceQuota", "resourcequotas"),
    Kind("Secret", "secrets"),
    Kind("Service", "services"),
    Kind("Lease", "leases", "coordination.k8s.io"),
    Kind("EndpointSlice", "endpointslices", "discovery.k8s.io"),
    Kind("RayCluster", "rayclusters", "ray.io"),
    Kind("Namespace", "namespaces", namespaced=False),
    Kind("PersistentVolume", "persistentvolumes", namespaced=False),
    Kind("MutatingAdmissionPolicy", "mutatingadmissionpolicies", "admissionregistration.k8s.io", namespaced=False),
    Kind("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", "admissionregistration.k8s.io", namespaced=False),
    Kind("CustomResourceDefinition", "customresourcedefinitions", "apiextensions.k8s.io", namespaced=False),
    Kind("ClusterRole", "clusterroles", "rbac.authorization.k8s.io", namespaced=False),
    Kind("ClusterRoleBinding", "clusterrolebindings", "rbac.authorization.k8s.io", namespaced=False),
    Kind("PriorityClass", "priorityclasses", "scheduling.k8s.io", namespaced=False),
)
KINDS = {**OF_OPERATOR, **{kind.name: kind for kind in _FURTHER}}
UnansweredError = urllib3.exceptions.HTTPError
"""Exceptions of a request without an answer."""


class ApiError(Exception):
    """The API server refused: status code, message and headers."""

    def __init__(self, code: int, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.code, self.message, self.headers = code, message, headers


class Api:
    """Requests of one user to one API server (or a proxy in front of it). Thread-safe.

    It shares no code with the client that it helps to test. Every method raises `ApiError` where the API server refuses.
    """

    def __init__(self, kubeconfig: Path, timeout: float = 60) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trust = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=trust)
        with tempfile.NamedTemporaryFile() as identity:
            identity.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            identity.flush()
            context.load_cert_chain(identity.name)
        self._server = str(cluster["server"])
        self._pool = urllib3.PoolManager(maxsize=32, ssl_context=context, timeout=timeout, retries=False)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def create(self, content: Mapping[str, Any]) -> Raw:
        """Create an object; its namespace is in its metadata."""
        return self._json("POST", self._path(content["kind"], content["metadata"].get("namespace")), content)

    def try_out(self, content: Mapping[str, Any]) -> Raw:
        """Return an object as it would be created (dry run). Unknown fields are refused, as with `kubectl`."""
        path = self._path(content["kind"], content["metadata"].get("namespace"))
        return self._json("POST", path, content, dryRun="All", fieldValidation="Strict")

    def apply(self, content: Mapping[str, Any]) -> Raw:
        """Create or change an object by server-side apply."""
        metadata = content["metadata"]
        path = self._path(content["kind"], metadata.get("namespace"), metadata["name"])
        return self._json("PATCH", path, content, "apply-patch+yaml", force="true")

    def get(self, kind: str, name: str, namespace: str | None = None) -> Raw:
        """One object."""
        return self._json("GET", self._path(kind, namespace, name))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Raw | None:
        """One object, or None."""
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, **labels: str) -> Raws:
        """All objects of a kind with these labels (`_` stands for `-`), in one or all namespaces."""
        return self._list(
            kind, namespace, labelSelector=",".join(f"{name.replace('_', '-')}={labels[name]}" for name in labels)
        )

    def patch(self, kind: str, name: str, namespace: str | None, change: Any, *, status: bool = False) -> Raw:
        """Merge a change into an object (a list: JSON patch), or into its status subresource."""
        how = "json-patch+json" if isinstance(change, list) else "merge-patch+json"
        return self._json("PATCH", KINDS[kind].path(namespace, name, "status" if status else None), change, how)

    def delete(
        self, kind: str, name: str, namespace: str | None = None, grace: int | None = None, *, orphan: bool = False
    ) -> None:
        """Delete an object and its children (`orphan`: without the children), if it exists."""
        options = {"propagationPolicy": "Orphan" if orphan else "Background"}
        try:
            self._json("DELETE", self._path(kind, namespace, name), {**options, **_given(gracePeriodSeconds=grace)})
        except ApiError as error:
            if error.code != 404:
                raise

    def evict(self, pod: Mapping[str, Any]) -> None:
        """Evict a pod, as a drained node does."""
        metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
        self.post(path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})

    def post(self, path: str, content: Mapping[str, Any]) -> None:
        """Send a request for a kind that is not listed above."""
        self._json("POST", path, content)

    def watch(self, kind: str, namespace: str) -> Iterator[tuple[str, Raw]]:
        """Yield each change of an object with the object, endlessly."""
        answer = self._ask("GET", f"{self._path(kind, namespace)}?watch=true", preload_content=False, timeout=None)
        for line in answer:
            change = json.loads(line)
            yield change["type"], change["object"]

    def _path(self, kind: str, namespace: str | None, name: str | None = None) -> str:
        return KINDS[kind].path(namespace, name)

    def _list(self, kind: str, namespace: str | None, **query: str) -> Raws:
        found = self._json("GET", self._path(kind, namespace), **{name: value for name, value in query.items() if value})
        return [{**each, "kind": kind} for each in found["items"]]

    def _json(self, method: str, path: str, content: Any = None, form: str = "json", **query: str) -> Raw:
        body = None if content is None else json.dumps(content)
        answer = self._ask(method, f"{path}?{urlencode(query)}", body=body, headers={"Content-Type": f"application/{form}"})
        return dict(answer.json())

    def _ask(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        separator = "&" if "?" in path else "?"
        answer = self._pool.request(method, f"{self._server}{path}{separator}fieldManager=deepicd-tests", **options)
        if answer.status < 300:
            return answer
        try:
            message = str(answer.json()["message"])
        except (ValueError, KeyError):
            message = answer.data.decode(errors="replace")
        raise ApiError(answer.status, message, answer.headers)

    def events(self, content: Mapping[str, Any]) -> Raws:
        """The events about an object, oldest first."""
        metadata = content["metadata"]
        found = self._list("Event", metadata["namespace"], fieldSelector=f"involvedObject.uid={metadata['uid']}")
        return sorted(found, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""))

    def pods_of(self, job: str, namespace: str) -> Raws:
        """The pods of a Job."""
        return self._list("Pod", namespace, labelSelector=f"batch.kubernetes.io/job-name={job}")


def wait_for(condition: Callable[[], T | None], seconds: float = 30, what: str | Callable[[], object] = "") -> T:
    """Return the condition's result once it is truthy; fails with `what` is missing or there instead.

    `seconds`: the longest that it takes on an idle machine.
    A 404 counts as nothing, since what is waited for may not be there yet, and so does a request to come again later.
    """
    deadline = time.monotonic() + BUSY * seconds
    while True:
        began = time.monotonic()
        try:
            found = condition()
        except ApiError as error:
            if error.code not in (404, 429):
                raise
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {BUSY * seconds:g} s: {what() if callable(what) else what}")
        # Listing a hundred objects costs the server time that the awaited work needs.
        time.sleep(min(0.5, max(0.05, 3 * (time.monotonic() - began))))


def refusal(error: ApiError) -> str:
    """Return why the API server refused."""
    return f"{error.code}: {error.message}"


def _given(**fields: Any) -> Raw:
    return {name: value for name, value in fields.items() if value is not None}
