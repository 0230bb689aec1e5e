"""The operator's process: first a full list, then watches, workers, probes and periodic full lists."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass

import structlog
from aiohttp import web

from deepicd.kubernetes.errors import NotFoundError, RefusedError, UnavailableError
from deepicd.kubernetes.login import log_in
from deepicd_operator import handlers, health
from deepicd_operator.cancellation import cancel_all
from deepicd_operator.cluster import Cluster
from deepicd_operator.controller import Controller
from deepicd_operator.prometheus import Metrics
from deepicd_operator.reasons import shorten
from deepicd_operator.settings import Settings

log = structlog.get_logger()
START_RETRY = 2.0


@dataclass
class Process:
    """The parts of the operator, started and stopped together."""

    settings: Settings
    namespaces: tuple[str, ...]
    port: int
    workers: int
    resync_seconds: float

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            UserError: there are no credentials, or the port is taken.
        """
        metrics, stop = Metrics(), asyncio.Event()
        _stop_on_signals(stop)
        cluster = Cluster(await log_in(), metrics)
        controller = Controller(cluster, self.settings.with_port_of(cluster.server), metrics, self.namespaces)
        runner = await health.serve(self.port, controller, cluster, metrics) if self.port else None
        try:
            while not stop.is_set():
                await self._first_list(controller, stop)
                if not stop.is_set():
                    log.info("serving", namespaces=self.namespaces or "all")
                    await self._serve(controller, runner, metrics, stop)
        finally:
            if runner is not None:
                await runner.cleanup()
            await cluster.close()

    async def _serve(self, controller: Controller, runner: web.AppRunner | None, metrics: Metrics, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, or until the watches must be restarted: an unexpected response ends all of kopf's watches,
        and a CRD installed later has no watch yet.
        """
        started, stop_watching = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(controller.work()) for _ in range(self.workers)]
        tasks.append(asyncio.create_task(_restore_signal_handlers(started, stop)))
        resyncing = asyncio.create_task(self._resync(controller))
        stopping = asyncio.create_task(stop.wait())
        watching = asyncio.create_task(handlers.watch(controller, self.namespaces, started, stop_watching))
        try:
            await asyncio.wait({watching, stopping, resyncing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            kinds_changed = resyncing.done()
            # kopf waits 5 s for every task created after its own, so it must end last.
            await cancel_all(*tasks, stopping, resyncing)
            if runner is not None and stop.is_set():
                await runner.cleanup()
            stop_watching.set()
        try:
            await watching
        except Exception as error:
            metrics.errors.labels("watches").inc()
            log.warning("the watches failed, restarting them", error=shorten(f"{type(error).__name__}: {error}"))
            await _pause(stop)
        else:
            if not kinds_changed:
                stop.set()

    async def _first_list(self, controller: Controller, stop: asyncio.Event) -> None:
        """List everything before the first decision, however long that takes."""
        while not stop.is_set() and (problem := await self._list(controller)) is not None:
            log.warning("cannot serve yet", problem=problem)
            await _pause(stop)

    async def _list(self, controller: Controller) -> str | None:
        """List everything. Returns why that failed, or None."""
        try:
            await controller.resync()
        except NotFoundError:
            return "the API server does not know DeepICDRun yet: apply the output of 'deepicd-operator crd'"
        except RefusedError as error:
            return f"the operator may not list runs and their objects: give it its Role ({error})"
        except UnavailableError as error:
            return f"the API server cannot answer ({error})"
        return None

    async def _resync(self, controller: Controller) -> None:
        """List everything periodically. Ends when a watched kind, such as KubeRay's, has been added or removed."""
        absent = controller.absent_kinds
        while controller.absent_kinds == absent:
            await asyncio.sleep(self.resync_seconds)
            if (problem := await self._list(controller)) is not None:
                log.warning("a full list failed", problem=problem)
        log.info("the watched kinds have changed, restarting the watches", absent=sorted(controller.absent_kinds))


def _stop_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _restore_signal_handlers(started: asyncio.Event, stop: asyncio.Event) -> None:
    """Replace the signal handlers of kopf, which would stop kopf before the other tasks."""
    await started.wait()
    _stop_on_signals(stop)


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_RETRY):
            await stop.wait()
