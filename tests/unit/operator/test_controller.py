"""What the controller does if objects already exist."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from deepicd.kubernetes.errors import AlreadyExistsError, NotFoundError, UnavailableError
from deepicd.spec.resource_names import API_VERSION, ATTEMPT_LABEL, KIND, RUN_LABEL
from deepicd_operator.cache import Key
from deepicd_operator.controller import EVENT_TRIES, SETTLE, Controller
from deepicd_operator.prometheus import Metrics
from deepicd_operator.status import Attempt, RunStatus, write_status
from deepicd_operator.workqueue import WorkQueue
from tests.unit.operator.builders import NAME, NOON, SETTINGS, UID, JobMade, PodMade, at, spec


class _Vanishing:
    """An API server where every name is taken when an object is created, and free when it is read."""

    def __init__(self) -> None:
        self.run: dict[str, Any] = {
            "apiVersion": API_VERSION, "kind": KIND, "spec": spec(),
            "metadata": {"name": NAME, "namespace": "research", "uid": UID, "generation": 1, "resourceVersion": "5"},
        }  # fmt: skip

    async def create(self, content: dict[str, Any]) -> dict[str, Any]:
        if content["kind"] == "Event":
            return content
        raise AlreadyExistsError(content["metadata"]["name"])

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        if kind == KIND:
            return self.run
        raise NotFoundError(name)

    async def write_status(self, run: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        self.run = {**run, "status": status, "metadata": {**run["metadata"], "resourceVersion": "6"}}
        return self.run


def test_a_name_that_has_just_become_free_is_retried_immediately() -> None:
    server: Any = _Vanishing()
    controller = Controller(server, SETTINGS, Metrics())

    async def reconcile_twice() -> Key:
        controller.notice(server.run)
        working = asyncio.create_task(controller.work())
        try:
            # No watch will report that the other object is gone: it belonged to another run.
            await asyncio.sleep(0.02)
            return await asyncio.wait_for(controller.queue.get(), 60)
        finally:
            working.cancel()

    assert asyncio.run(reconcile_twice()) == Key("research", NAME)


class _WithoutEvents(_Vanishing):
    """An API server that takes no events, by a rate limit on these alone."""

    def __init__(self) -> None:
        super().__init__()
        self.run["spec"]["suspend"] = True
        self.events = 0

    async def create(self, content: dict[str, Any]) -> dict[str, Any]:
        self.events += 1
        raise UnavailableError("limit reached on type Namespace", 429)


def test_a_run_waits_for_its_events_but_not_for_ever() -> None:
    server: Any = _WithoutEvents()
    controller, key = Controller(server, SETTINGS, Metrics()), Key("research", NAME)
    controller.notice(server.run)
    for _ in range(EVENT_TRIES):
        asyncio.run(controller._reconcile_safely(key))
        assert "status" not in server.run
    asyncio.run(controller._reconcile_safely(key))
    assert (server.run["status"]["state"], server.events) == ("Suspended", EVENT_TRIES + 1)


class _HasEverything(_Vanishing):
    """An API server that already has every object of the run."""

    def __init__(self) -> None:
        super().__init__()
        attempt = Attempt(number=1, start=NOON, running=at(1), pod=f"{NAME}-a1-x", node="node-1")
        status = RunStatus(state="Running", reason="Running", attempt=1, attempts=(attempt,))
        self.run["status"] = write_status(status)
        self.offered: list[str] = []

    async def create(self, content: dict[str, Any]) -> dict[str, Any]:
        self.offered.append(content["kind"])
        return await super().create(content)

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        return self.of_the_run({"kind": kind, "metadata": {"name": name}})

    def of_the_run(self, raw: dict[str, Any]) -> dict[str, Any]:
        owner = {"apiVersion": API_VERSION, "kind": KIND, "name": NAME, "uid": UID, "controller": True}
        labels = {RUN_LABEL: NAME, ATTEMPT_LABEL: "1"}
        metadata = {"labels": labels, "ownerReferences": [owner], "resourceVersion": "4", **raw["metadata"]}
        return {**raw, "metadata": {**metadata, "namespace": "research"}}


def test_a_silent_attempts_objects_are_not_created_over_and_over() -> None:
    server: Any = _HasEverything()
    controller = Controller(server, SETTINGS, Metrics(), clock=lambda: at(4000))
    time = 0.0
    controller.queue = WorkQueue(lambda: time)

    async def reconcile_once() -> None:
        nonlocal time
        for raw in (JobMade().raw, {**PodMade().running(at(1)).raw, "kind": "Pod"}):
            controller.notice(server.of_the_run(raw))
        controller.notice(server.of_the_run({"kind": "ConfigMap", "metadata": {"name": f"{NAME}-a1-progress"}}))
        controller.notice(server.run)
        key = await controller.queue.get()
        await controller._reconcile_safely(key)
        controller.queue.done(key)
        time += 2 * SETTLE

    asyncio.run(reconcile_once())
    assert {"Role", "RoleBinding", "ConfigMap", "ServiceAccount"} <= set(server.offered)
    assert controller.queue.depth == 0


class _Listing:
    """An API server that lists only one run, and refuses writes."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run

    async def pages(self, kind: str, _: str) -> AsyncIterator[list[dict[str, Any]]]:
        yield [self.run] if kind == KIND else []


def test_a_restored_store_is_served_after_the_next_full_list() -> None:
    server: Any = _Listing(_Vanishing().run)
    controller = Controller(server, SETTINGS, Metrics())

    async def known(version: str, uid: str) -> Any:
        server.run = {**server.run, "metadata": {**server.run["metadata"], "resourceVersion": version, "uid": uid}}
        await controller.resync()
        return controller._cache.run(Key("research", NAME))["metadata"]["uid"]

    assert asyncio.run(known("500", "before")) == "before"
    assert asyncio.run(known("400", "restored")) == "restored"
