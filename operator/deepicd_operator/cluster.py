"""The operator's requests to the API server: each is counted and has a time limit."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, TypeVar

from deepicd.kubernetes.client import Client
from deepicd.kubernetes.errors import NotFoundError, RefusedError, RequestError, UnavailableError, UnknownKindError
from deepicd.kubernetes.login import Login
from deepicd.spec.resource_names import API_VERSION, KIND
from deepicd_operator.desired import Deletion
from deepicd_operator.kinds import KINDS, USES
from deepicd_operator.names import MANAGED_SELECTOR, MANAGER
from deepicd_operator.prometheus import Metrics
from deepicd_operator.snapshot import owner

Raw = dict[str, Any]
Raws = list[Raw]
T = TypeVar("T")
ALL_NAMESPACES = "*"
REQUEST_SECONDS = 15.0

INFORMATIVE_EVENTS = {
    "FailedCreate", "FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox",
    "NetworkNotReady", "ProvisioningFailed",
}  # fmt: skip
"""Reasons of events with information that is not in any status."""

_ANSWERED = {404, 409}
"""Codes that the API server sends only after it has authenticated and authorized the request."""
_BUILT_IN = {use.kind.name for use in USES if use.kind.name != KIND and not use.optional}
"""Kinds that every Kubernetes API server has: a 404 that names no object comes from a proxy in front of it."""


class Cluster:
    """The API server, as the operator uses it. Every method raises `RequestError`."""

    def __init__(self, login: Login, metrics: Metrics) -> None:
        self.server = login.configuration.host
        """Address of the API server."""
        self.last_contact = 0.0
        """When the API server last accepted a request."""
        self._client = Client(MANAGER, REQUEST_SECONDS, login)
        self._metrics = metrics

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def list(self, kind: str, namespace: str = ALL_NAMESPACES, labels: Mapping[str, str] | None = None) -> list[Raw]:
        """Return the managed objects of a watched kind, all or those with the labels."""
        return [each async for page in self.pages(kind, namespace, labels) for each in page]

    async def pages(
        self, kind: str, namespace: str = ALL_NAMESPACES, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[Raws]:
        """As `list`, some hundred objects at a time."""
        chosen = None if kind == KIND else {**_equal(MANAGED_SELECTOR), **(labels or {})}
        within = None if namespace == ALL_NAMESPACES else namespace
        pages = self._client.pages(KINDS[kind], within, chosen)
        while (page := await self._counted("list", kind, anext(pages, None))) is not None:
            yield page

    async def get(self, kind: str, namespace: str, name: str) -> Raw:
        """Return one object.

        Raises:
            NotFoundError: it does not exist.
        """
        return await self._counted("get", kind, self._client.get(KINDS[kind], namespace, name))

    async def node_is_lost(self, name: str) -> bool:
        """Whether a node is gone or not ready; False if the operator may not read nodes."""
        try:
            node = await self._counted("get", "Node", self._client.get(KINDS["Node"], None, name))
        except NotFoundError:
            return True
        except RefusedError:
            return False
        conditions = (node.get("status") or {}).get("conditions") or ()
        return any(each["type"] == "Ready" and each["status"] != "True" for each in conditions)

    async def create(self, content: Raw) -> Raw:
        """Create an object.

        Raises:
            AlreadyExistsError: an object of that name exists.
            RefusedFieldsError: it has unknown fields or invalid values.
        """
        return await self._counted("create", content["kind"], self._client.create(KINDS[content["kind"]], content))

    async def write_status(self, run: Mapping[str, Any], status: Mapping[str, Any]) -> Raw:
        """Write the status of a run, provided that the run has not changed since it was read.

        Raises:
            ChangedMeanwhileError: the run has changed since.
            NotFoundError: it is gone.
        """
        read = run["metadata"]
        metadata = {name: read[name] for name in ("name", "namespace", "uid", "resourceVersion")}
        content = {
            "apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": run["spec"], "status": dict(status),
        }  # fmt: skip
        return await self._counted("update", f"{KIND}/status", self._client.replace_status(KINDS[KIND], content))

    async def delete(self, namespace: str, deletion: Deletion) -> None:
        """Delete an object. Does nothing if it is gone, or belongs to another run than `deletion.owner`.

        Raises:
            ChangedMeanwhileError: another object has its name, or it has changed since the version to delete.
        """
        try:
            uid = deletion.uid or await self._uid_of(namespace, deletion)
        except NotFoundError:
            return
        expected = {"uid": uid}
        if deletion.version is not None:
            expected["resourceVersion"] = deletion.version
        options = {
            "preconditions": expected,
            "propagationPolicy": "Foreground" if deletion.foreground else "Background",
        }
        request = self._client.delete(KINDS[deletion.kind], namespace, deletion.name, options)
        try:
            await self._counted("delete", deletion.kind, request)
        except NotFoundError:
            return

    async def _uid_of(self, namespace: str, deletion: Deletion) -> str:
        found = await self.get(deletion.kind, namespace, deletion.name)
        if owner(found) != deletion.owner:
            raise NotFoundError(f"{deletion.kind} {deletion.name} belongs to another run")
        return str(found["metadata"]["uid"])

    async def warnings(self, namespace: str, uid: str) -> str:
        """Return the newest event that explains why an object is not created or started; empty by default."""
        fields = {"involvedObject.uid": uid, "type": "Warning"}
        found = await self._counted("list", "Event", self._client.list(KINDS["Event"], namespace, fields=fields))
        events = [each for each in found if each.get("reason") in INFORMATIVE_EVENTS]
        newest = max(events, key=_event_time, default=None)
        return "" if newest is None else str(newest.get("message") or newest.get("reason") or "")

    async def _counted(self, verb: str, kind: str, request: Awaitable[T]) -> T:
        code, accepted = "0", False
        try:
            answer = await request
            code, accepted = "200", True
        except RequestError as error:
            # Only if the API server itself answered: a proxy in front of it also sends 404.
            code, accepted = str(error.code), error.answered and error.code in _ANSWERED
            if isinstance(error, UnknownKindError) and kind in _BUILT_IN and verb != "create":
                raise UnavailableError(f"{kind}: {error}: this is not an answer of an API server", error.code) from None
            raise
        finally:
            self._metrics.requests.labels(verb, kind, code).inc()
            if accepted:
                self.last_contact = time.time()
                self._metrics.last_contact.set(self.last_contact)
        return answer


def _equal(selector: str) -> dict[str, str]:
    name, _, value = selector.partition("=")
    return {name: value}


def _event_time(event: Raw) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
