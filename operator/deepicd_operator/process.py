"""The operator's process: first a full list, then watches, workers, probes and a full list now and then."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass

import structlog

from deepicd_operator import handlers, health
from deepicd_operator.cluster import Cluster, NotThereError, RefusedError, UnreachableError
from deepicd_operator.controller import Controller
from deepicd_operator.metrics import Metrics
from deepicd_operator.settings import Settings

log = structlog.get_logger()
START_RETRY = 2.0


@dataclass
class Process:
    """Everything that is started, and ended together."""

    settings: Settings
    namespaces: tuple[str, ...]
    port: int
    workers: int
    resync_seconds: float

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        metrics, stop = Metrics(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        cluster = Cluster(metrics)
        controller = Controller(cluster, self.settings, metrics, self.namespaces)
        runner = await health.serve(self.port, controller, cluster, metrics) if self.port else None
        try:
            await self._first_list(controller, stop)
            tasks = [asyncio.create_task(controller.work()) for _ in range(self.workers)]
            tasks.append(asyncio.create_task(self._resync(controller)))
            try:
                if not stop.is_set():
                    log.info("serving", namespaces=self.namespaces or "all")
                    await handlers.watch(controller, self.namespaces, stop)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            if runner is not None:
                await runner.cleanup()
            await cluster.close()

    async def _first_list(self, controller: Controller, stop: asyncio.Event) -> None:
        """Nothing is decided before everything is known once."""
        while not stop.is_set() and (problem := await self._list(controller)) is not None:
            log.warning("cannot serve yet", problem=problem)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), START_RETRY)

    async def _list(self, controller: Controller) -> str | None:
        """List everything; why that was not possible, or None."""
        try:
            await controller.resync()
        except NotThereError:
            return "the API server does not know DeepICDRun yet: apply the output of 'deepicd-operator crd'"
        except RefusedError as error:
            return f"the operator may not list what it serves: give it its Role ({error})"
        except UnreachableError as error:
            return f"the API server is not able to answer ({error})"
        return None

    async def _resync(self, controller: Controller) -> None:
        while True:
            await asyncio.sleep(self.resync_seconds)
            if (problem := await self._list(controller)) is not None:
                log.warning("a full list failed", problem=problem)
