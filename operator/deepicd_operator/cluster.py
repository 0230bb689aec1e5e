"""What the operator asks of the API server: each request is counted, and has a time limit."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
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
T = TypeVar("T")
ALL_NAMESPACES = "*"
REQUEST_SECONDS = 15.0

TELLING_EVENTS = {
    "FailedCreate", "FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox",
    "NetworkNotReady", "ProvisioningFailed",
}  # fmt: skip
"""Reasons of events that say what shows in no status."""


_ANSWERED = {404, 409}
"""Codes by which the API server says that it took the request: it had checked who asks, and their rights, before."""
_BUILT_IN = {use.kind.name for use in USES if use.kind.name != KIND and not use.optional}
"""Kinds that every Kubernetes API server has: a 404 that names no object is of a proxy before it, and says nothing of one."""


class Cluster:
    """The API server as the operator uses it. Every method raises `RequestError`."""

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
        """All objects of a watched kind that the operator manages, or those of them that have the labels."""
        chosen = None if kind == KIND else {**_equal(MANAGED_SELECTOR), **(labels or {})}
        within = None if namespace == ALL_NAMESPACES else namespace
        return await self._counted("list", kind, self._client.list(KINDS[kind], within, chosen))

    async def get(self, kind: str, namespace: str, name: str) -> Raw:
        """One object.

        Raises:
            NotFoundError: it does not exist.
        """
        return await self._counted("get", kind, self._client.get(KINDS[kind], namespace, name))

    async def node_is_lost(self, name: str) -> bool:
        """Whether a node is gone or does not answer; False where that may not be asked."""
        try:
            node = await self._counted("get", "Node", self._client.get(KINDS["Node"], None, name))
        except NotFoundError:
            return True
        except RefusedError:
            return False
        conditions = (node.get("status") or {}).get("conditions") or ()
        return any(each["type"] == "Ready" and each["status"] != "True" for each in conditions)

    async def create(self, content: Raw) -> Raw:
        """Make an object.

        Raises:
            AlreadyExistsError: one of that name exists.
            RefusedFieldsError: it has fields that its kind does not have, or values that they cannot have.
        """
        return await self._counted("create", content["kind"], self._client.create(KINDS[content["kind"]], content))

    async def write_status(self, run: Mapping[str, Any], status: Mapping[str, Any]) -> Raw:
        """Write the status of the run as it was read.

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
        """Delete an object; one that is gone already, or belongs to another run than `deletion.owner`, is fine.

        Raises:
            ChangedMeanwhileError: it is another one of that name, or has changed since the version to delete.
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

        asked = self._client.delete(KINDS[deletion.kind], namespace, deletion.name, options)
        try:
            await self._counted("delete", deletion.kind, asked)
        except NotFoundError:
            return

    async def _uid_of(self, namespace: str, deletion: Deletion) -> str:
        found = await self.get(deletion.kind, namespace, deletion.name)
        if owner(found) != deletion.owner:
            raise NotFoundError(f"{deletion.kind} {deletion.name} is another run's")
        return str(found["metadata"]["uid"])

    async def warnings(self, namespace: str, uid: str) -> str:
        """Newest event that says why an object is not made or not started; empty where there is none."""
        fields = {"involvedObject.uid": uid, "type": "Warning"}
        found = await self._counted("list", "Event", self._client.list(KINDS["Event"], namespace, fields=fields))
        events = [each for each in found if each.get("reason") in TELLING_EVENTS]
        newest = max(events, key=_event_time, default=None)
        return "" if newest is None else str(newest.get("message") or newest.get("reason") or "")

    async def _counted(self, verb: str, kind: str, request: Awaitable[T]) -> T:
        code, accepted = "0", False
        try:
            answer = await request
            code, accepted = "200", True
        except RequestError as error:
            # By the API server's own answer: a proxy before it has its 404s, too.
            code, accepted = str(error.code), error.answered and error.code in _ANSWERED
            if isinstance(error, UnknownKindError) and kind in _BUILT_IN and verb != "create":
                raise UnavailableError(f"{kind}: {error}: this is no answer of an API server", error.code) from None
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
