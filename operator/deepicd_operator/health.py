"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import time

from aiohttp import web

from deepicd.errors import UserError
from deepicd_operator.cluster import Cluster
from deepicd_operator.controller import Controller
from deepicd_operator.prometheus import Metrics

STUCK_SECONDS = 600.0
"""If a run has been due for this long, the workers are stuck."""
SILENT_SECONDS = 300.0
"""The operator reports ready if the API server accepted a request within this time."""


async def serve(port: int, controller: Controller, cluster: Cluster, metrics: Metrics) -> web.AppRunner:
    """Serve a port on all addresses, until the runner is cleaned up.

    Raises:
        UserError: the port is taken.
    """

    async def alive(_: web.Request) -> web.Response:
        age = controller.queue.age
        return _answer(age < STUCK_SECONDS, f"oldest due run: {age:.0f} s")

    async def ready(_: web.Request) -> web.Response:
        silent = time.time() - cluster.last_contact
        return _answer(controller.listed and silent < SILENT_SECONDS, f"listed: {controller.listed}, silent: {silent:.0f} s")

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", scrape)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
    except OSError as error:
        await runner.cleanup()
        raise UserError(f"--port {port}: {error.strerror}: choose another port, or 0 for none") from None
    return runner


def _answer(good: bool, text: str) -> web.Response:
    return web.Response(status=200 if good else 503, text=text + "\n")
