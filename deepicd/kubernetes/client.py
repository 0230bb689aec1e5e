"""Requests to a Kubernetes API server; objects are the plain dictionaries that it sends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient

from deepicd.errors import UserError
from deepicd.kubernetes.errors import RequestError, UnauthorizedError, UnavailableError, answer_error
from deepicd.kubernetes.kinds import POD, Kind
from deepicd.kubernetes.login import Login, log_in

Raw = dict[str, Any]
Raws = list[Raw]
T = TypeVar("T")
PAGE = 250
"""Most objects that one request lists."""
CONNECTIONS = 16
"""Parallel requests: each connection has 256 KiB of buffers for TLS."""
LOGIN_SECONDS = 5.0
"""Least time between two log-ins: a credential plugin may be slow, and its service has limits."""


class _PlainClient(ApiClient):
    """Sends bodies as they are: JSON already, and nested deeper than the library's own conversion can handle."""

    def sanitize_for_serialization(self, obj: Any) -> Any:
        return obj


class Client:
    """Requests as one user. It logs in with the first one, and again when the API server no longer accepts the credentials.

    Paths of the kinds come from `kinds`, not from the API server's discovery, which the client library would read first.
    Every method raises `RequestError`; logging in raises `UserError`.
    """

    def __init__(self, manager: str, seconds: float, login: Login | None = None) -> None:
        """`manager`: field manager of what is written; `seconds`: limit of a request; `login`: an earlier one."""
        self._manager = manager
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._stream_timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds)
        self._login = login
        self._api: DynamicClient | None = None
        self._previous: DynamicClient | None = None
        self._logging_in = asyncio.Lock()
        self._log_in_after = 0.0

    async def close(self) -> None:
        """Close the connections."""
        for each in (self._api, self._previous):
            if each is not None:
                await each.client.close()

    async def login(self) -> Login:
        """The credentials in use."""
        _, login = await self._logged_in(None)
        return login

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Raw:
        """One object."""
        found: Raw = await self._ask("get", kind.path(namespace, name))
        return found

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> list[Raw]:
        """All objects with these labels and field values, in one namespace or in all."""
        return [each async for page in self.pages(kind, namespace, labels, fields) for each in page]

    async def pages(
        self,
        kind: Kind,
        namespace: str | None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Raws]:
        """As `list`, but at most `PAGE` objects at a time: parsed, 1,000 pods take tens of MiB."""
        chosen: dict[str, Any] = {"limit": PAGE, "label_selector": _selector(labels), "field_selector": _selector(fields)}
        while True:
            page = await self._ask("get", kind.path(namespace), **chosen)
            # The items of a list do not include their kind.
            yield [{**each, "kind": kind.name} for each in page.get("items") or ()]
            if not (following := (page.get("metadata") or {}).get("continue")):
                return
            chosen["_continue"] = following

    async def create(self, kind: Kind, content: Raw) -> Raw:
        """Create an object in the namespace of its metadata; an unknown field is refused."""
        return await self._write("post", kind.path(content["metadata"]["namespace"]), content, strict=True)

    async def replace_status(self, kind: Kind, content: Raw) -> Raw:
        """Replace an object's status, at the version in its metadata; fields that an older CRD lacks are dropped."""
        metadata = content["metadata"]
        return await self._write("put", kind.path(metadata["namespace"], metadata["name"], "status"), content)

    async def apply(self, kind: Kind, content: Raw) -> Raw:
        """Create an object or change its fields, also another manager's; an unknown field is refused."""
        metadata, query = content["metadata"], {"force_conflicts": True, "content_type": "application/apply-patch+yaml"}
        return await self._write("patch", kind.path(metadata["namespace"], metadata["name"]), content, strict=True, **query)

    async def merge(self, kind: Kind, namespace: str, name: str, change: Raw) -> Raw:
        """Change fields of an object."""
        return await self._write("patch", kind.path(namespace, name), change, content_type="application/merge-patch+json")

    async def delete(self, kind: Kind, namespace: str, name: str, options: Raw | None = None) -> None:
        """Delete an object; `options`: preconditions and propagation policy."""
        await self._ask("delete", kind.path(namespace, name), options)

    async def log(self, namespace: str, pod: str, container: str, *, follow: bool, tail: int | None) -> AsyncIterator[str]:
        """Lines of a container's log, each with its line ending."""
        query: list[tuple[str, Any]] = [("container", container), ("follow", follow)]
        if tail is not None:
            query.append(("tailLines", tail))
        path = POD.path(namespace, pod, "log")
        answer = await self._ask("get", path, query_params=query, serialize=False, _request_timeout=self._stream_timeout)
        try:
            async for line in answer.content:
                yield line.decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unanswered(error) from None
        finally:
            answer.close()

    async def _write(self, method: str, path: str, body: Raw, *, strict: bool = False, **params: Any) -> Raw:
        query = [("fieldManager", self._manager), *([("fieldValidation", "Strict")] if strict else ())]
        found: Raw = await self._ask(method, path, body, query_params=query, **params)
        return found

    async def _ask(self, method: str, path: str, body: Raw | None = None, **params: Any) -> Any:
        params = {"_request_timeout": self._timeout, "serializer": _as_it_is, **params}

        async def request(api: DynamicClient) -> Any:
            return await api.request(method, path, body, **{**params, "query_params": list(params.get("query_params", ()))})

        api, _ = await self._logged_in(None)
        try:
            return await _typed(lambda: request(api))
        except UnauthorizedError:
            renewed, _ = await self._logged_in(api)
            if renewed is api:
                raise
            return await _typed(lambda: request(renewed))

    async def _logged_in(self, refused: DynamicClient | None) -> tuple[DynamicClient, Login]:
        """The client and its login; a new one instead of `refused`, which was rejected, if there are new credentials."""
        async with self._logging_in:
            if self._login is None:
                self._login = await log_in()
            if self._api is None:
                self._api = _api(self._login)
            elif self._api is refused and time.monotonic() >= self._log_in_after:
                self._log_in_after = time.monotonic() + LOGIN_SECONDS
                await self._log_in_again(self._login)
            return self._api, self._login

    async def _log_in_again(self, refused: Login) -> None:
        try:
            login = await log_in()
        except UserError as error:
            raise UnauthorizedError(str(error), 401) from None
        if login.credentials == refused.credentials:
            return
        # Other requests may still use the previous client; those of the one before it have ended.
        if self._previous is not None:
            await self._previous.client.close()
        self._previous, self._login, self._api = self._api, login, _api(login)


def _api(login: Login) -> DynamicClient:
    login.configuration.connection_pool_maxsize = CONNECTIONS
    return DynamicClient(_PlainClient(login.configuration))


async def _typed(request: Callable[[], Awaitable[T]]) -> T:
    try:
        return await request()
    except ApiException as error:
        raise answer_error(int(error.status or 0), error.headers, error.body) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unanswered(error) from None
    except ValueError:
        raise UnavailableError("the answer is not JSON") from None


def _unanswered(error: Exception) -> RequestError:
    found = "timed out" if isinstance(error, TimeoutError) else ": ".join(filter(None, (type(error).__name__, str(error))))
    return UnavailableError(found)


def _as_it_is(_: DynamicClient, answer: Any) -> Any:
    return answer


def _selector(wanted: Mapping[str, str] | None) -> str | None:
    return ",".join(f"{name}={value}" for name, value in wanted.items()) if wanted else None
