"""A proxy in front of the API server: it records requests, and fails those that a test chooses.

Whoever presents a certificate of the control plane's authority is that user at the API server as well (by impersonation);
a bearer token is passed on.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tests.cluster.api_call import Call, read_call
from tests.cluster.certificates import ADMIN_GROUP
from tests.cluster.control_plane import ControlPlane

_NOT_PASSED = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}
_REASONS = {
    401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 429: "TooManyRequests",
    500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


@dataclass
class Fault:
    """A fault for matching calls: the first `skip` pass, the next `times` fail."""

    when: Callable[[Call], bool]
    status: int | None = None
    """Answer this instead of asking the API server."""
    retry_after: int | None = None
    """Seconds, sent as Retry-After with `status`."""
    delay: float = 0
    """Delay in seconds before anything else."""
    lose: str | None = None
    """`request`: the connection breaks before the API server gets the call; `answer`: after it has executed it."""
    then: Callable[[], None] | None = None
    """Called when the API server has answered, before the client gets the answer."""
    skip: int = 0
    times: int = 1


class _Watch:
    """An open watch."""

    def __init__(self, call: Call, transport: asyncio.Transport | None) -> None:
        self.call = call
        self.silent = False
        self._transport = transport
        self._task = asyncio.current_task()

    def cut(self) -> None:
        _abort(self._transport)
        if self._task is not None:
            self._task.cancel()


class FaultProxy:
    """The proxy, on loopback, in a separate thread; `server` is its address. All methods are thread-safe."""

    def __init__(self, plane: ControlPlane) -> None:
        self.calls: list[Call] = []
        self.alter_watch: Callable[[Call, dict[str, Any]], list[dict[str, Any]]] | None = None
        """Maps an event of a watch to the events that the client gets: none, the same, two, another."""
        self._faults: list[Fault] = []
        self._watches: list[_Watch] = []
        self._silent: Callable[[Call], bool] | None = None
        self._plane = plane
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.server = self._within(self._start())

    def fail(self, fault: Fault) -> Fault:
        """Make calls fail; the first matching fault decides."""
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults. Records stay, and silent watches stay silent."""
        self._faults.clear()
        self.alter_watch = None
        self._silent = None

    def cut_watches(self, resource: str | None = None) -> int:
        """Break the connections of the open watches (of one resource). Return their number."""

        async def cut() -> int:
            chosen = [watch for watch in self._watches if resource in (None, watch.call.resource)]
            for watch in chosen:
                watch.cut()
            return len(chosen)

        cut_ones: int = self._within(cut())
        return cut_ones

    def silence_watches(self, resource: str | None = None, *, new_ones: bool = False) -> int:
        """Silence the open watches, as after a lost NAT entry; with `new_ones` also future ones."""

        def chosen(call: Call) -> bool:
            return resource in (None, call.resource)

        self._silent = chosen if new_ones else self._silent
        found = [watch for watch in list(self._watches) if chosen(watch.call)]
        for watch in found:
            watch.silent = True
        return len(found)

    def watches(self, resource: str) -> int:
        """Return the number of open watches of a resource."""
        return sum(watch.call.resource == resource for watch in list(self._watches))

    def writes(self, user: str | None = None) -> list[Call]:
        """Return the write calls so far, failed ones included."""
        return [call for call in list(self.calls) if call.is_write and user in (None, call.user)]

    def close(self) -> None:
        """Break all connections and stop listening."""
        self._within(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _within(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _start(self) -> str:
        authority = self._plane.authority
        ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
        ours.load_cert_chain(*authority.server("fault-proxy"))
        ours.verify_mode = ssl.CERT_OPTIONAL
        as_admin = ssl.create_default_context(cafile=str(authority.certificate))
        plain = ssl.create_default_context(cafile=str(authority.certificate))
        as_admin.load_cert_chain(*authority.client("fault-proxy-user", ADMIN_GROUP))
        self._as_admin, self._plain = (_session(context) for context in (as_admin, plain))
        self._runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True, access_log=None), shutdown_timeout=0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=ours)
        await site.start()
        return f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        for watch in list(self._watches):
            watch.cut()
        await self._runner.cleanup()
        await self._as_admin.close()
        await self._plain.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        user, groups = _presented(request)
        call = read_call(request.method, request.path_qs, user)
        self.calls.append(call)
        body = await request.read()
        fault = self._fault(call) or Fault(when=lambda _: False)
        await asyncio.sleep(fault.delay)
        if fault.status is not None:
            call.status = fault.status
            return _refused(fault.status, fault.retry_after)
        if fault.lose == "request":
            return _broken(request)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _NOT_PASSED]
        if user:
            headers += [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)]
        session = self._as_admin if user else self._plain
        target = URL(self._plane.server + request.raw_path, encoded=True)
        try:
            async with session.request(request.method, target, headers=headers, data=body or None) as answer:
                call.status = answer.status
                if call.verb == "watch" and answer.status == 200:
                    return await self._pass_watch(request, call, answer)
                content = await answer.read()
        except aiohttp.ClientError:
            return _broken(request)
        if fault.then is not None:
            await asyncio.to_thread(fault.then)
        if fault.lose == "answer":
            return _broken(request)
        passed = [(name, value) for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED]
        return web.Response(status=answer.status, headers=CIMultiDict(passed), body=content)

    def _fault(self, call: Call) -> Fault | None:
        for fault in list(self._faults):
            if not fault.when(call):
                continue
            if fault.skip > 0:
                fault.skip -= 1
            elif fault.times > 0:
                fault.times -= 1
                return fault
        return None

    async def _pass_watch(self, request: web.BaseRequest, call: Call, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": answer.headers["Content-Type"]})
        response.enable_chunked_encoding()
        watch = _Watch(call, request.transport)
        watch.silent = self._silent is not None and self._silent(call)
        self._watches.append(watch)
        try:
            await response.prepare(request)
            async for part in _parts(answer):
                for altered in self._altered(call, part):
                    if not watch.silent:
                        await response.write(altered)
            if watch.silent:
                await asyncio.Event().wait()
        except (aiohttp.ClientError, ConnectionError):
            return _broken(request)
        finally:
            self._watches.remove(watch)
        return response

    def _altered(self, call: Call, line: bytes) -> list[bytes]:
        if self.alter_watch is None:
            return [line]
        return [json.dumps(event).encode() + b"\n" for event in self.alter_watch(call, json.loads(line))]


def _session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None), skip_auto_headers=["User-Agent"]
    )


def _presented(request: web.BaseRequest) -> tuple[str, list[str]]:
    """User and groups of the client's certificate."""
    ssl_object = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    certificate: Any = (ssl_object.getpeercert() if ssl_object is not None else None) or {}
    names = [pair for part in certificate.get("subject", ()) for pair in part]
    users = [value for name, value in names if name == "commonName"]
    return (users[0] if users else ""), [value for name, value in names if name == "organizationName"]


async def _parts(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of a watch in JSON, one event each, or the chunks of one in protobuf, which has no lines."""
    if answer.content_type != "application/json":
        async for chunk in answer.content.iter_any():
            yield chunk
        return
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"


def _refused(status: int, retry_after: int | None) -> web.Response:
    reason = _REASONS.get(status, "InternalError")
    content = {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason,
        "message": f"{reason}, says the test's proxy",
    }  # fmt: skip
    headers = {"Content-Type": "application/json"} | ({} if retry_after is None else {"Retry-After": str(retry_after)})
    return web.Response(status=status, headers=headers, body=json.dumps(content).encode())


def _broken(request: web.BaseRequest) -> web.Response:
    _abort(request.transport)
    return web.Response()


def _abort(transport: asyncio.Transport | None) -> None:
    if transport is not None:
        transport.abort()
