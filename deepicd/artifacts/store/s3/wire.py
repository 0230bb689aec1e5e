"""The requests that carry data, straight over HTTP: bodies go from and to the caller's memory without a copy.

Where the bucket is, who vouches for it and who uses it comes from boto3, so that both reach the same place alike.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

import boto3
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from deepicd.artifacts.store.s3.connection import Answer, Connection, Pace, Sink
from deepicd.artifacts.store.s3.signature import query_string, signed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 10
IDLE_SECONDS = 5.0
"""A connection that was unused for longer may have been closed by the server: it is not used again."""
_LONGEST_TEXT = 2**16
"""Bytes of what a store says of a request, at most."""


class Wire:
    """Connections to one bucket. Safe for threads: each request takes an idle connection or opens one."""

    def __init__(self, session: boto3.Session, client: S3Client, bucket: str, ca_bundle: str | None) -> None:
        self._session = session
        # boto3 alone knows all about endpoints and regions; a link shows where a request of its would go, and as whose.
        link = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"}))
        self._host, self._base = link.netloc, link.path.removesuffix("key")
        self._region = parse_qs(link.query)["X-Amz-Credential"][0].split("/")[2]
        self._context = _trust(session, ca_bundle) if link.scheme == "https" else None
        proxy = get_environ_proxies(f"{link.scheme}://{link.netloc}").get(link.scheme)
        self._proxy = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
        self._proxy_headers = _proxy_headers(self._proxy.username, self._proxy.password) if self._proxy is not None else {}
        self._idle: list[tuple[float, Connection]] = []
        self._lock = threading.Lock()

    def put(self, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: memoryview, pace: Pace | None) -> str:
        """Send an object or a part; its ETag.

        Raises:
            ClientError: the store refused it.
            OSError, HTTPException: no answer came.
        """
        sized = {**headers, "content-length": str(len(body))}
        with self._exchange("PUT", key, query, sized, body, pace) as (connection, answer):
            connection.read(memoryview(bytearray(min(answer.length or 0, _LONGEST_TEXT))))
            return answer.headers.get("etag", "")

    def get(self, key: str, into: memoryview) -> int:
        """Fill `into` with a whole object, as far as that goes; its size.

        Raises:
            WrongLengthError: it is longer.
            ClientError: the store refused it.
            OSError, HTTPException: no answer came, or less than was announced.
        """
        with self._exchange("GET", key, {}, {}, None, None) as (connection, answer):
            size, length = _sizes(answer, len(into))
            connection.read(into[:length])
            return size

    def get_range(self, key: str, start: int, length: int, sink: Sink) -> int:
        """Hand an object's bytes from `start` on to `sink`, as far as they go; the size of the whole object.

        When the request has to be repeated, `sink` is given them from the first one again.

        Raises:
            WrongLengthError, ClientError, OSError, HTTPException: see `get`.
        """
        headers = {"range": f"bytes={start}-{start + length - 1}"}
        with self._exchange("GET", key, {}, headers, None, None) as (connection, answer):
            size, count = _sizes(answer, length)
            if count < min(length, size - start):
                raise IncompleteRead(b"", length - count)
            connection.stream(count, sink)
            return size

    @contextmanager
    def _exchange(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: memoryview | None,
        pace: Pace | None,
    ) -> Iterator[tuple[Connection, Answer]]:
        """A request and its answer, of which the caller reads the body."""
        head = self._head(method, key, query, headers)
        connection = self._take()
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have said why, and not waited for the body
                connection.send(head, body, pace)
            answer = connection.receive()
            if answer.status not in (200, 206):
                raise _refusal(answer.status, connection.read_some(_LONGEST_TEXT), method)
            yield connection, answer
        except BaseException:
            connection.close()
            raise
        if connection.is_reusable:
            with self._lock:
                self._idle.append((time.monotonic(), connection))
        else:
            connection.close()

    def _head(self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        path = self._base + quote(key, safe="/-_.~")
        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        credentials = found.get_frozen_credentials()
        proven = signed(method, path, query, {**headers, "host": self._host}, credentials, self._region, datetime.now(UTC))
        target = f"{path}?{query_string(query)}" if query else path
        if self._proxy is not None and self._context is None:
            target, proven = f"http://{self._host}{target}", {**proven, **self._proxy_headers}
        return "\r\n".join([f"{method} {target} HTTP/1.1", *map(": ".join, proven.items()), "", ""]).encode()

    def _take(self) -> Connection:
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since < IDLE_SECONDS:
                    return connection
                connection.close()
        return Connection(self._way())

    def _way(self) -> HTTPConnection:
        via = self._proxy.netloc.rpartition("@")[2] if self._proxy is not None else self._host
        if self._context is None:
            return HTTPConnection(via, timeout=CONNECT_SECONDS)
        connection = HTTPSConnection(via, timeout=CONNECT_SECONDS, context=self._context)
        if self._proxy is not None:
            connection.set_tunnel(self._host, headers=self._proxy_headers)
        return connection


class WrongLengthError(Exception):
    """An object is longer than it should be; its size is the argument."""


def _sizes(answer: Answer, most: int) -> tuple[int, int]:
    """Bytes of the whole object, and of this answer."""
    if answer.length is None:
        raise HTTPException("an answer without its length")
    told = answer.headers.get("content-range", "").rpartition("/")[2]
    size = int(told) if answer.status == 206 and told.isdecimal() else answer.length
    if answer.length > most:
        raise WrongLengthError(size)
    return size, answer.length


def _trust(session: boto3.Session, ca_bundle: str | None) -> ssl.SSLContext:
    chosen = ca_bundle or session._session.get_config_variable("ca_bundle") or get_cert_path(True)
    return ssl.create_default_context(cafile=chosen)


def _proxy_headers(user: str | None, password: str | None) -> dict[str, str]:
    if not user:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _refusal(status: int, content: bytes, method: str) -> ClientError:
    """The store's refusal in the form that boto3 gives it."""
    code = re.search(rb"<Code>([^<]*)</Code>", content)
    told = code[1].decode(errors="replace") if code else str(status)
    return ClientError({"Error": {"Code": told}, "ResponseMetadata": {"HTTPStatusCode": status}}, method)  # type: ignore[typeddict-item]
