"""The operator's process: first a full list, then watches, workers, probes and a full list now and then."""

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
    """Everything that is started, and ended together."""

    settings: Settings
    namespaces: tuple[str, ...]
    port: int
    workers: int
    resync_seconds: float

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

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
        """Serve until told to stop, or until the watches must begin anew: an answer that kopf does not know ends them all,
        and none of them is for a kind that came later.
        """
        begun, stop_watching = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(controller.work()) for _ in range(self.workers)]
        tasks.append(asyncio.create_task(_take_signals_back(begun, stop)))
        resyncing = asyncio.create_task(self._resync(controller))
        stopping = asyncio.create_task(stop.wait())
        watching = asyncio.create_task(handlers.watch(controller, self.namespaces, begun, stop_watching))
        try:
            await asyncio.wait({watching, stopping, resyncing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            renewed = resyncing.done()
            # kopf takes every task that is younger than it for its own, and waits 5 s for each: it ends last.
            await cancel_all(*tasks, stopping, resyncing)
            if runner is not None and stop.is_set():
                await runner.cleanup()
            stop_watching.set()
        try:
            await watching
        except Exception as error:
            metrics.errors.labels("watches").inc()
            log.warning("the watches broke off; they begin anew", error=shorten(f"{type(error).__name__}: {error}"))
            await _pause(stop)
        else:
            if not renewed:
                stop.set()

    async def _first_list(self, controller: Controller, stop: asyncio.Event) -> None:
        """Nothing is decided before everything is known once."""
        while not stop.is_set() and (problem := await self._list(controller)) is not None:
            log.warning("cannot serve yet", problem=problem)
            await _pause(stop)

    async def _list(self, controller: Controller) -> str | None:
        """List everything; why that was not possible, or None."""
        try:
            await controller.resync()
        except NotFoundError:
            return "the API server does not know DeepICDRun yet: apply the output of 'deepicd-operator crd'"
        except RefusedError as error:
            return f"the operator may not list what it serves: give it its Role ({error})"
        except UnavailableError as error:
            return f"the API server is not able to answer ({error})"
        return None

    async def _resync(self, controller: Controller) -> None:
        """A full list now and then; ends when the API server has a kind more or less than at the start, such as KubeRay's."""
        absent = controller.absent_kinds
        while controller.absent_kinds == absent:
            await asyncio.sleep(self.resync_seconds)
            if (problem := await self._list(controller)) is not None:
                log.warning("a full list failed", problem=problem)
        log.info("other kinds are there: the watches begin anew", absent=sorted(controller.absent_kinds))


def _stop_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _take_signals_back(begun: asyncio.Event, stop: asyncio.Event) -> None:
    """kopf puts handlers of its own in their place, which end it before everything else."""
    await begun.wait()
    _stop_on_signals(stop)


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_RETRY):
            await stop.wait()
