"""What becomes of a plan whose objects are met by others."""

from __future__ import annotations

import asyncio
from typing import Any

from deepicd.kubernetes.errors import AlreadyExistsError, NotFoundError
from deepicd.spec.resource_names import API_VERSION, KIND
from deepicd_operator.cache import Key
from deepicd_operator.controller import Controller
from deepicd_operator.prometheus import Metrics
from tests.unit.operator.builders import NAME, SETTINGS, UID, spec


class _Vanishing:
    """An API server where every name is taken when it is asked for, and free when it is looked at."""

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


def test_a_name_that_becomes_free_while_it_is_looked_at_is_tried_again_at_once() -> None:
    server: Any = _Vanishing()
    controller = Controller(server, SETTINGS, Metrics())

    async def reconcile_twice() -> Key:
        controller.notice(server.run)
        working = asyncio.create_task(controller.work())
        try:
            # No watch will say that the other object is gone: it was another run's.
            await asyncio.sleep(0.02)
            return await asyncio.wait_for(controller.queue.get(), 5)
        finally:
            working.cancel()

    assert asyncio.run(reconcile_twice()) == Key("research", NAME)


class _Listing:
    """An API server that lists nothing but one run, and writes nothing."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run

    async def list(self, kind: str, _: str) -> list[dict[str, Any]]:
        return [self.run] if kind == KIND else []


def test_a_restored_store_is_served_from_the_next_full_list_on() -> None:
    server: Any = _Listing(_Vanishing().run)
    controller = Controller(server, SETTINGS, Metrics())

    async def known(version: str, uid: str) -> Any:
        server.run = {**server.run, "metadata": {**server.run["metadata"], "resourceVersion": version, "uid": uid}}
        await controller.resync()
        return controller._cache.run(Key("research", NAME))["metadata"]["uid"]

    assert asyncio.run(known("500", "before")) == "before"
    assert asyncio.run(known("400", "restored")) == "restored"
