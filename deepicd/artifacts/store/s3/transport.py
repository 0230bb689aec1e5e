"""Access to one bucket with one secret: boto3's client, and separate requests for data.

Through boto3 a data request would cost a millisecond of CPU. urllib3 sends these requests and botocore signs them; address,
region, trust store, proxy and credentials are boto3's.
"""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from zlib import crc32

import boto3
import botocore.session
from botocore import exceptions
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, Timeout
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ProtocolError

from deepicd.errors import UserError
from deepicd.spec.storage import S3Spec

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
"""The longest silence, and the longest wait until the store accepts another piece."""
PIECE_BYTES = 2**18
"""Bytes per read and write: a piece stays in the processor's cache, and ends at a page boundary of the file."""
_CONNECTIONS = 24
_LONGEST_TEXT = 2**16  # bytes of an error's description
# The checksum header, which is signed, protects the body: hashing it for the signature too would double the CPU time.
_UNSIGNED_BODY = Config(s3={"payload_signing_enabled": False})

Pace = Callable[[int], None]
"""Returns when that many bytes may be sent."""
Content = bytes | memoryview
Sink = Callable[[bytes, int], None]
"""Called with each piece of a body as it arrives, and its offset in the body."""


class Transport:
    """`put` and `get` raise botocore's `ClientError` if the store refuses, urllib3's `HTTPError` without an answer.

    Raises:
        UserError: endpoint, region, CA bundle or proxy cannot be used.
    """

    def __init__(self, settings: S3Spec, secret: Mapping[str, str]) -> None:
        """`secret`: values of `S3_SECRET_KEYS` and `S3_SESSION_TOKEN`; if there are none, boto3 looks for credentials."""
        path_style = settings.path_style if settings.path_style is not None else settings.endpoint is not None
        config = Config(
            region_name=settings.region,
            s3={"addressing_style": "path" if path_style else "auto"},
            signature_version="s3v4",  # also for links, whose default version newer buckets refuse
            retries={"total_max_attempts": 1},  # `Bucket` retries, for all kinds of failure alike
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            tcp_keepalive=True,
            parameter_validation=False,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self.secret = secret
        self._settings = settings
        try:
            core = botocore.session.get_session()
            # Times stay text: boto3's parser would take longer than the rest of a listing.
            core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
            self._session = boto3.Session(
                **{name.lower(): value for name, value in secret.items()},
                botocore_session=core,
                region_name=settings.region or (None if settings.endpoint is None else "us-east-1"),
            )
            self.client: S3Client = self._session.client(
                "s3", endpoint_url=settings.endpoint, config=config, verify=settings.ca_bundle
            )
        except (exceptions.BotoCoreError, ValueError, OSError) as error:
            raise UserError(f"storage.s3: {type(error).__name__}: correct endpoint, region and caBundle") from None
        self._encryption = encryption = _encryption_headers(settings)
        events = self.client.meta.events
        for operation in ("PutObject", "CreateMultipartUpload"):
            events.register(f"before-call.s3.{operation}", lambda params, **_: params["headers"].update(encryption))
        # After a redirect boto3 asks for the region, endlessly if that request is redirected too.
        events.register("before-call.s3.HeadBucket", lambda context, **_: context.update(s3_redirect={"redirected": True}))
        self._manager = _manager(self.client.meta.endpoint_url, settings.ca_bundle or core.get_config_variable("ca_bundle"))

    def put(self, key: str, body: Content, query: Mapping[str, str], pace: Pace) -> str:
        """Send an object, or a part of the multipart upload in `query`, with its checksum; returns its ETag."""
        headers = {"content-length": str(len(body)), "x-amz-checksum-crc32": checksum(body)}
        if not query:
            headers |= self._encryption
        with closing(self._send("PUT", key, query, headers, _pieces(memoryview(body), pace))) as answer:
            answer.read(_LONGEST_TEXT)
            return answer.headers.get("etag", "")

    def get(self, key: str, start: int, length: int, sink: Sink) -> int:
        """Pass `length` bytes of an object to `sink`, fewer if it ends earlier; returns its size, as announced or read."""
        headers = {"range": f"bytes={start}-{start + length - 1}"} if length else {}
        with closing(self._send("GET", key, {}, headers, None)) as answer:
            if start and answer.status != 206:
                raise UserError(f"{self._target[0]}: ignores the Range header: use a store, and a proxy, that serve ranges")
            announced = answer.headers.get("content-range", "").rpartition("/")[2]
            size = int(announced) if announced.isdecimal() else answer.length_remaining
            received = 0
            while received < length and (piece := answer.read(min(PIECE_BYTES, length - received))):
                sink(piece, received)
                received += len(piece)
            if size is None:
                return start + received + len(answer.read(1))
            if received < min(length, size - start):
                raise ProtocolError(f"{received} bytes instead of {length}")
            return size

    def link(self, key: str, seconds: int) -> str:
        """A presigned link to an object."""
        target = {"Bucket": self._settings.bucket, "Key": key}
        return self.client.generate_presigned_url("get_object", Params=target, ExpiresIn=seconds)

    @cached_property
    def _target(self) -> tuple[str, str]:
        """Address and region of the bucket: a presigned link shows where boto3 would send a request."""
        link = urlsplit(self.link("key", 60))
        region = parse_qs(link.query)["X-Amz-Credential"][0].split("/")[2]
        return f"{link.scheme}://{link.netloc}{link.path.removesuffix('key')}", region

    def _send(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: Iterator[memoryview] | None
    ) -> BaseHTTPResponse:
        """The answer to a request. Its connection is reused if the body was read to its end."""
        credentials = self._session.get_credentials()
        if credentials is None:
            raise exceptions.NoCredentialsError
        base, region = self._target
        url = base + quote(key, safe="/-_.~") + ("?" + urlencode(query, quote_via=quote) if query else "")
        request = AWSRequest(method, url, headers=headers)
        request.context["client_config"] = _UNSIGNED_BODY
        S3SigV4Auth(credentials.get_frozen_credentials(), "s3", region).add_auth(request)
        answer = self._manager.urlopen(
            method, url, body=body, headers=dict(request.headers.items()),
            redirect=False, retries=False, preload_content=False, decode_content=False,
        )  # fmt: skip
        if answer.status in (200, 206):
            return answer
        with closing(answer):
            found = re.search(rb"<Code>([^<]*)</Code>", answer.read(_LONGEST_TEXT))
        code = found[1].decode(errors="replace") if found else str(answer.status)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        metadata = {"HTTPStatusCode": answer.status, "HTTPHeaders": headers}
        raise exceptions.ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, method)  # type: ignore[typeddict-item]


def _encryption_headers(settings: S3Spec) -> dict[str, str]:
    chosen = settings.encryption
    if chosen is None:
        return {}
    name = "x-amz-server-side-encryption"
    key = {f"{name}-aws-kms-key-id": chosen.kms_key_id} if chosen.kms_key_id else {}
    return {name: "aws:kms" if chosen.type == "kms" else "AES256", **key}


class _Timeouts(HTTPConnection):
    """Separate timeouts: urllib3 would apply the one for connecting to sending as well."""

    def connect(self) -> None:
        self.timeout = CONNECT_SECONDS
        super().connect()
        self.sock.settimeout(ANSWER_SECONDS)


def _manager(endpoint: str, ca_bundle: str | None) -> PoolManager:
    try:
        trust = ssl.create_default_context(cafile=ca_bundle or get_cert_path(True))
    except OSError:  # ssl.SSLError among them
        raise UserError(
            f"storage.s3.caBundle: {ca_bundle}: has no readable certificate: give a PEM file with the store's CA certificates"
        ) from None
    proxies = ProxyConfiguration(get_environ_proxies(endpoint))
    proxy = proxies.proxy_url_for(endpoint)
    if proxy is not None and proxy.count("://") > 1:  # botocore puts http:// before any other scheme
        name, kind = f"{urlsplit(endpoint).scheme.upper()}_PROXY", proxy.split("://")[1]
        raise UserError(f"{name}: is a {kind} proxy: name an http:// or https:// one, or the store's host in NO_PROXY")
    timeout = Timeout(connect=ANSWER_SECONDS, read=ANSWER_SECONDS)
    options: dict[str, Any] = {"maxsize": _CONNECTIONS, "timeout": timeout, "ssl_context": trust}
    if proxy is not None:
        options |= {"proxy_headers": proxies.proxy_headers_for(proxy), "proxy_ssl_context": trust}
    manager = ProxyManager(proxy, **options) if proxy is not None else PoolManager(**options)
    manager.pool_classes_by_scheme = {
        str(pool.scheme): type("Pool", (pool,), {"ConnectionCls": type("Connection", (_Timeouts, pool.ConnectionCls), {})})
        for pool in (HTTPConnectionPool, HTTPSConnectionPool)
    }
    return manager


def _pieces(body: memoryview, pace: Pace) -> Iterator[memoryview]:
    """The body in pieces, since a socket's timeout applies to a whole send."""
    for start in range(0, len(body), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        pace(len(piece))
        yield piece


def checksum(content: Content) -> str:
    """CRC-32 as S3 expects it: base64 of four bytes, big-endian. The server compares it with what arrived."""
    return b64encode(crc32(content).to_bytes(4, "big")).decode()
