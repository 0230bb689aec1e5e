"""kopf's part: watching, reconnecting and logging in. Each event goes to the controller."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import kopf

from deepicd.errors import UserError
from deepicd.kubernetes.kinds import RUN
from deepicd.kubernetes.login import Login, log_in
from deepicd_operator.controller import Controller
from deepicd_operator.kinds import WATCHED, Use
from deepicd_operator.names import MANAGED_SELECTOR, MANAGER

_SERVER_TIMEOUT, _CLIENT_TIMEOUT, _CONNECT_TIMEOUT = 270, 300, 15


class _NoDiffs(kopf.DiffBaseStorage):
    """Disables kopf's diffs, which our handlers do not use and which took a quarter of the operator's CPU time."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _RetryDelays:
    """Seconds between retries, endless: kopf would stop the whole operator after the last one."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 1, 2, 3, 5, 8, 13, 21), itertools.repeat(30))


def settings() -> kopf.OperatorSettings:
    """Return settings for watches that are renewed regularly, time out when silent, and cover only the operator's objects."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    # kopf keeps a task for each object for that long, and waits for all of them when it ends.
    chosen.queueing.idle_timeout = 0.5
    chosen.persistence.diffbase_storage = _NoDiffs()
    chosen.networking.error_backoffs = _RetryDelays()
    chosen.watching.server_timeout = _SERVER_TIMEOUT
    chosen.watching.client_timeout = _CLIENT_TIMEOUT
    chosen.watching.connect_timeout = _CONNECT_TIMEOUT
    for use in WATCHED:
        if use.kind is not RUN:
            chosen.watching.label_selectors[_place(use)] = MANAGED_SELECTOR
    return chosen


def register(registry: kopf.OperatorRegistry, controller: Controller) -> None:
    """Pass all watch events to the controller."""

    async def notice(event: Any, resource: Any, **_: Any) -> None:
        raw = {"kind": resource.kind, **event["object"]}
        controller.notice(raw, gone=event["type"] == "DELETED")

    for use in WATCHED:
        if use.kind.name not in controller.absent_kinds:
            kopf.on.event(*_place(use), registry=registry)(notice)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        try:
            return connection(await log_in())
        except UserError as error:
            raise kopf.PermanentError(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class _Connection(kopf.ConnectionInfo):
    """kopf's own knows no kubeconfig's `tls-server-name`."""

    tls_server_name: str | None = None
    """Name that the API server's certificate is for, where it is not its address's."""

    def as_ssl_context(self) -> ssl.SSLContext:
        context = super().as_ssl_context()
        if self.tls_server_name is not None:
            wrap_bio, name = context.wrap_bio, self.tls_server_name

            def named(
                incoming: ssl.MemoryBIO,
                outgoing: ssl.MemoryBIO,
                server_side: bool = False,
                server_hostname: str | bytes | None = None,
                session: ssl.SSLSession | None = None,
            ) -> ssl.SSLObject:
                return wrap_bio(incoming, outgoing, server_side, name, session)

            context.wrap_bio = named  # type: ignore[method-assign]
        return context


def connection(login: Login) -> kopf.ConnectionInfo:
    """Return the client's credentials in kopf's form."""
    chosen = login.configuration
    scheme, _, token = chosen.api_key.get("BearerToken", "").partition(" ")
    return _Connection(
        server=chosen.host,
        ca_path=chosen.ssl_ca_cert,
        insecure=not chosen.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=chosen.cert_file,
        private_key_path=chosen.key_file,
        default_namespace=login.namespace,
        proxy_url=chosen.proxy,
        tls_server_name=chosen.tls_server_name,
        trust_env=True,
    )


def _place(use: Use) -> tuple[str, str, str]:
    return use.kind.group, use.kind.version, use.kind.plural


async def watch(controller: Controller, namespaces: tuple[str, ...], started: asyncio.Event, stop: asyncio.Event) -> None:
    """Watch until `stop` is set; `started` is set when kopf has started.

    Raises:
        Exception: kopf received an unexpected response and gave up.
    """
    registry = kopf.OperatorRegistry()
    register(registry, controller)
    await kopf.operator(
        registry=registry,
        settings=settings(),
        clusterwide=not namespaces,
        namespaces=namespaces,
        ready_flag=started,
        stop_flag=stop,
        # Peering is off. kopf's default identity needs a user name, which the user of a container may not have.
        identity=cast("Any", MANAGER),
    )
