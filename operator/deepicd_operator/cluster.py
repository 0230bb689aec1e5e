"""The only file that talks to the API server."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx2
from lightkube import ApiError, AsyncClient

from deepicd.kubernetes.api import resource_class
from deepicd.spec.resource_names import API_VERSION, GROUP, KIND, PLURAL, VERSION
from deepicd_operator.names import MANAGED_SELECTOR, MANAGER
from deepicd_operator.observed import owner
from deepicd_operator.plan import Deletion
from deepicd_operator.prometheus import Metrics

Raw = dict[str, Any]
T = TypeVar("T")
ALL_NAMESPACES = "*"
REQUEST_SECONDS = 15.0

RESOURCES: dict[str, Any] = {
    KIND: resource_class(GROUP, VERSION, KIND, PLURAL),
    "Job": resource_class("batch", "v1", "Job", "jobs"),
    "RayJob": resource_class("ray.io", "v1", "RayJob", "rayjobs"),
    "PersistentVolumeClaim": resource_class("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    "Pod": resource_class("", "v1", "Pod", "pods"),
    "ConfigMap": resource_class("", "v1", "ConfigMap", "configmaps"),
    "ServiceAccount": resource_class("", "v1", "ServiceAccount", "serviceaccounts"),
    "Event": resource_class("", "v1", "Event", "events"),
    "NetworkPolicy": resource_class("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    "Role": resource_class("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    "RoleBinding": resource_class("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    "Node": resource_class("", "v1", "Node", "nodes", namespaced=False),
}
WATCHED = (KIND, "Job", "RayJob", "Pod", "ConfigMap")
"""Kinds that are listed and watched; all but the runs themselves by the label of what the operator makes."""


TELLING_EVENTS = {
    "FailedCreate", "FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox",
    "NetworkNotReady", "ProvisioningFailed",
}  # fmt: skip
"""Reasons of events that say what shows in no status."""


_ANSWERED = {404, 409}
"""Codes by which the API server says that it took the request: it had checked who asks, and their rights, before."""


class NotThereError(Exception):
    """The object does not exist."""


class ConflictError(Exception):
    """The object exists already, or has changed since it was read."""


class RefusedError(Exception):
    """The API server understood, and will not do it: asking again changes nothing by itself."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnreachableError(Exception):
    """The API server did not answer, or is not able to: ask again later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Cluster:
    """Requests of the operator, each counted, each with a time limit."""

    def __init__(self, metrics: Metrics) -> None:
        # One connection per worker and one to spare; the API server limits by priority and fairness, not we.
        # Objects are plain dictionaries here, which lightkube's overloads do not foresee.
        self._client: Any = AsyncClient(timeout=httpx2.Timeout(REQUEST_SECONDS), field_manager=MANAGER, http2=False)
        self._metrics = metrics
        self.last_contact = 0.0
        """When the API server last accepted a request."""

    @property
    def server(self) -> str:
        """Address of the API server."""
        return str(self._client.config.cluster.server)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def list(self, kind: str, namespace: str = ALL_NAMESPACES, labels: Mapping[str, str] | None = None) -> list[Raw]:
        """All objects of a watched kind that the operator manages, or those of them that have the labels."""
        chosen = None if kind == KIND else {**_equal(MANAGED_SELECTOR), **(labels or {})}

        async def request() -> list[Raw]:
            found = self._client.list(RESOURCES[kind], namespace=namespace, chunk_size=500, labels=chosen)
            return [_complete(kind, dict(each)) async for each in found]

        return await self._call("list", kind, request)

    async def get(self, kind: str, namespace: str, name: str) -> Raw:
        """One object.

        Raises:
            NotThereError: it does not exist.
        """

        async def request() -> Raw:
            return _complete(kind, dict(await self._client.get(RESOURCES[kind], name, namespace=namespace)))

        return await self._call("get", kind, request)

    async def node_is_lost(self, name: str) -> bool:
        """Whether a node is gone or does not answer; False where that may not be asked."""

        async def request() -> Raw:
            return dict(await self._client.get(RESOURCES["Node"], name))

        try:
            node = await self._call("get", "Node", request)
        except NotThereError:
            return True
        except RefusedError:
            return False
        conditions = (node.get("status") or {}).get("conditions") or ()
        return any(each["type"] == "Ready" and each["status"] != "True" for each in conditions)

    async def create(self, content: Raw) -> Raw:
        """Make an object.

        Raises:
            ConflictError: one of that name exists.
        """
        kind, namespace = content["kind"], content["metadata"]["namespace"]

        async def request() -> Raw:
            return _complete(kind, dict(await self._client.create(RESOURCES[kind](content), namespace=namespace)))

        return await self._call("create", kind, request)

    async def write_status(self, run: Mapping[str, Any], status: Mapping[str, Any]) -> Raw:
        """Write the status of the run as it was read.

        Raises:
            ConflictError: the run has changed since.
            NotThereError: it is gone.
        """
        read = run["metadata"]
        metadata = {name: read[name] for name in ("name", "namespace", "uid", "resourceVersion")}
        content = {
            "apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": run["spec"], "status": dict(status),
        }  # fmt: skip

        async def request() -> Raw:
            place = RESOURCES[KIND].Status
            return dict(await self._client.replace(place(content), metadata["name"], namespace=metadata["namespace"]))

        return await self._call("update", f"{KIND}/status", request)

    async def delete(self, namespace: str, deletion: Deletion) -> None:
        """Delete an object; one that is gone already, or belongs to another run than `deletion.owner`, is fine.

        Raises:
            ConflictError: it is another one of that name, or has changed since the version to delete.
        """
        try:
            uid = deletion.uid or await self._uid_of(namespace, deletion)
        except NotThereError:
            return
        expected = {"uid": uid}
        if deletion.version is not None:
            expected["resourceVersion"] = deletion.version
        options = {
            "preconditions": expected,
            "propagationPolicy": "Foreground" if deletion.foreground else "Background",
        }

        async def request() -> None:
            # lightkube's own delete sends no preconditions.
            generic = self._client._client
            prepared = generic.prepare_request("delete", RESOURCES[deletion.kind], name=deletion.name, namespace=namespace)
            prepared.data = options
            generic.raise_for_status(await generic.send(generic.build_adapter_request(prepared)))

        try:
            await self._call("delete", deletion.kind, request)
        except NotThereError:
            return

    async def _uid_of(self, namespace: str, deletion: Deletion) -> str:
        found = await self.get(deletion.kind, namespace, deletion.name)
        if owner(found) != deletion.owner:
            raise NotThereError(f"{deletion.kind} {deletion.name} is another run's")
        return str(found["metadata"]["uid"])

    async def warnings(self, namespace: str, uid: str) -> str:
        """Newest event that says why an object is not made or not started; empty where there is none."""

        async def request() -> list[Raw]:
            fields = {"involvedObject.uid": uid, "type": "Warning"}
            found = self._client.list(RESOURCES["Event"], namespace=namespace, fields=fields)
            return [dict(each) async for each in found]

        events = [each for each in await self._call("list", "Event", request) if each.get("reason") in TELLING_EVENTS]
        newest = max(events, key=_event_time, default=None)
        return "" if newest is None else str(newest.get("message") or newest.get("reason") or "")

    async def _call(self, verb: str, kind: str, request: Callable[[], Awaitable[T]]) -> T:
        code, accepted = "0", False
        try:
            answer = await request()
            code, accepted = "200", True
        except ApiError as error:
            # By the code in the API server's own answer: a proxy before it has its 404s, too.
            code, accepted = str(error.status.code), error.status.code in _ANSWERED
            raise _translated(error) from None
        except httpx2.HTTPStatusError as error:
            code = str(error.response.status_code)
            raise _by_code(error.response.status_code, str(error), None) from None
        except httpx2.HTTPError as error:
            raise UnreachableError(f"{type(error).__name__}: {error}") from None
        finally:
            self._metrics.requests.labels(verb, kind, code).inc()
            if accepted:
                self.last_contact = time.time()
                self._metrics.last_contact.set(self.last_contact)
        return answer


def _translated(error: ApiError) -> Exception:
    retry_after = error.response.headers.get("Retry-After") if error.response is not None else None
    message = error.status.message or error.status.reason or ""
    return _by_code(error.status.code or 0, message, float(retry_after) if retry_after and retry_after.isdecimal() else None)


def _by_code(code: int, message: str, retry_after: float | None) -> Exception:
    if code == 404:
        return NotThereError(message)
    if code == 409:
        return ConflictError(message)
    if code in {0, 401, 429} or code >= 500:
        return UnreachableError(f"{code}: {message}", retry_after)
    return RefusedError(code, message)


def _complete(kind: str, raw: Raw) -> Raw:
    # The items of a list do not say their kind.
    return {**raw, "kind": kind}


def _equal(selector: str) -> dict[str, str]:
    name, _, value = selector.partition("=")
    return {name: value}


def _event_time(event: Raw) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
