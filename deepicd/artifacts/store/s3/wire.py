"""The requests that carry data, straight over HTTP: bodies go from and to the caller's memory without a copy.

Where the bucket is, who vouches for it and who uses it comes from boto3, so that both reach the same place alike.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

import boto3
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from deepicd.artifacts.store.s3.signature import query_string, signed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
IDLE_SECONDS = 5.0
"""A connection that was unused for longer may have been closed by the server: it is not used again."""
PACED_BYTES = 2**18
"""With a limited rate a body is sent in pieces of this size."""

Pace = Callable[[int], None]
"""Returns when that many bytes may be sent."""


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
        self._idle: list[tuple[float, HTTPConnection]] = []
        self._lock = threading.Lock()

    def put(self, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: memoryview, pace: Pace | None) -> str:
        """Send an object or a part; its ETag.

        Raises:
            ClientError: the store refused it.
            OSError, HTTPException: no answer came.
        """
        with self._request("PUT", key, query, {**headers, "content-length": str(len(body))}, body, pace) as answer:
            answer.read()
            return answer.headers["etag"] or ""

    def get(self, key: str, start: int, into: memoryview, whole: bool) -> int:
        """Fill `into` with an object's bytes from `start` on, as far as they go; the size of the whole object.

        `whole`: the object is expected to have no other bytes.

        Raises:
            ClientError: the store refused it.
            OSError, HTTPException: no answer came, or less than was announced.
        """
        headers = {} if whole else {"range": f"bytes={start}-{start + len(into) - 1}"}
        with self._request("GET", key, {}, headers, None, None) as answer:
            length = int(answer.headers["content-length"])
            size = int(answer.headers["content-range"].rpartition("/")[2]) if answer.status == 206 else length
            if length > len(into):
                raise WrongLengthError(size)
            filled = 0
            while filled < length:
                count = answer.readinto(into[filled:length])
                if not count:
                    raise IncompleteRead(b"", length - filled)
                filled += count
            answer.read()
            return size

    def _request(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: memoryview | None,
        pace: Pace | None,
    ) -> _Answering:
        path = self._base + quote(key, safe="/-_.~")
        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        credentials = found.get_frozen_credentials()
        proven = signed(method, path, query, {**headers, "host": self._host}, credentials, self._region, datetime.now(UTC))
        target = f"{path}?{query_string(query)}" if query else path
        if self._proxy is not None and self._context is None:
            target, proven = f"http://{self._host}{target}", {**proven, **self._proxy_headers}
        connection = self._take()
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have said why, and not waited for the body
                connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
                for name, value in proven.items():
                    connection.putheader(name, value)
                connection.endheaders()
                for piece in _pieces(body, pace):
                    connection.send(piece)
            answer = connection.getresponse()
            if answer.status not in (200, 206):
                raise _refusal(answer, method)
        except BaseException:
            connection.close()
            raise
        return _Answering(self, connection, answer)

    def _take(self) -> HTTPConnection:
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since < IDLE_SECONDS:
                    return connection
                connection.close()
        connection = self._open()
        connection.connect()
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _open(self) -> HTTPConnection:
        via = self._proxy.netloc.rpartition("@")[2] if self._proxy is not None else self._host
        if self._context is None:
            return HTTPConnection(via, timeout=CONNECT_SECONDS)
        connection = HTTPSConnection(via, timeout=CONNECT_SECONDS, context=self._context)
        if self._proxy is not None:
            connection.set_tunnel(self._host, headers=self._proxy_headers)
        return connection

    def give(self, connection: HTTPConnection) -> None:
        """The connection's answer was read: it may be used again."""
        with self._lock:
            self._idle.append((time.monotonic(), connection))


class _Answering:
    """A connection goes back when its answer was read to the end, and is closed otherwise."""

    def __init__(self, wire: Wire, connection: HTTPConnection, answer: HTTPResponse) -> None:
        self._wire = wire
        self._connection = connection
        self._answer = answer

    def __enter__(self) -> HTTPResponse:
        return self._answer

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._answer.isclosed() and self._connection.sock is not None:
            self._wire.give(self._connection)
        else:
            self._connection.close()


class WrongLengthError(Exception):
    """An object is longer than it should be; its size is the argument."""


def _trust(session: boto3.Session, ca_bundle: str | None) -> ssl.SSLContext:
    chosen = ca_bundle or session._session.get_config_variable("ca_bundle") or get_cert_path(True)
    return ssl.create_default_context(cafile=chosen)


def _proxy_headers(user: str | None, password: str | None) -> dict[str, str]:
    if not user:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _pieces(body: memoryview | None, pace: Pace | None) -> Iterator[memoryview]:
    if body is not None and pace is None:
        yield body
    elif body is not None and pace is not None:
        for start in range(0, len(body), PACED_BYTES):
            piece = body[start : start + PACED_BYTES]
            pace(len(piece))
            yield piece


def _refusal(answer: HTTPResponse, method: str) -> ClientError:
    """The store's refusal in the form that boto3 gives it."""
    content = answer.read(65536)
    code = re.search(rb"<Code>([^<]*)</Code>", content)
    told = code[1].decode(errors="replace") if code else str(answer.status)
    return ClientError({"Error": {"Code": told}, "ResponseMetadata": {"HTTPStatusCode": answer.status}}, method)  # type: ignore[typeddict-item]
