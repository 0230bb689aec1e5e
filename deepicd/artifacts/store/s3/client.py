"""One bucket: every request with our retries, every error with its remedy."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.session
import structlog
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as StoreConnectionError
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp

from deepicd.artifacts.store.base import ConflictError
from deepicd.artifacts.store.s3.connection import Pace, Sink
from deepicd.artifacts.store.s3.refusals import CONFLICT, GARBLED, GARBLED_TRIES, MISSING, PASSING, STALE_SECRET, explain
from deepicd.artifacts.store.s3.wire import Wire
from deepicd.errors import StoreError, UserError
from deepicd.spec.environment import S3_SECRET
from deepicd.spec.storage import S3Spec

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FIRST_CONTACT_SECONDS = 20.0
"""A store that has never answered is given up sooner: its address is more likely wrong than it is down."""
LONGEST_PAUSE = 5.0
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_NO_ANSWER = (StoreConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError, HTTPException, OSError)
_NOTHING: Mapping[str, str] = MappingProxyType({})

log = structlog.get_logger()
Answer = TypeVar("Answer")


class MissingError(Exception):
    """There is no object of that key, or no such upload."""


class StoppedError(Exception):
    """The request was given up since another one failed."""


@dataclass
class _Connected:
    """The bucket as it is reached with one secret."""

    secret: dict[str, str]
    session: boto3.Session
    client: S3Client
    settings: S3Spec

    @cached_property
    def wire(self) -> Wire:
        return Wire(self.session, self.client, self.settings.bucket, self.settings.ca_bundle)


class Bucket:
    """Requests to one bucket. Safe for threads.

    Each of `call`, `put` and `get` raises
        MissingError: no such object or upload.
        ConflictError: a condition does not hold.
        UserError: the user must change something.
        StoreError: it failed for `retry_seconds`.
        StoppedError: `stop` was set while it was tried.
    """

    def __init__(self, settings: S3Spec, retry_seconds: float) -> None:
        self.settings = settings
        self.url = f"s3://{settings.bucket}"
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._reached = False
        self.trouble = ""
        """See `Store.trouble`."""
        self._connected = self._connect(self._read_secret())

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One request of boto3; the answer's body, if it has one, is read whole into `Body` as bytes."""

        def act(connected: _Connected) -> dict[str, Any]:
            answer: dict[str, Any] = getattr(connected.client, operation)(Bucket=self.settings.bucket, **arguments)
            if "Body" in answer:
                answer["Body"] = answer["Body"].read()
            return answer

        return self._until_answered(operation, act, None)

    def put(
        self,
        key: str,
        body: memoryview,
        *,
        query: Mapping[str, str] = _NOTHING,
        headers: Mapping[str, str] = _NOTHING,
        pace: Pace | None = None,
        stop: threading.Event | None = None,
    ) -> str:
        """Send an object, or a part where `query` says which; its ETag."""
        request = "upload_part" if query else "put_object"
        return self._until_answered(request, lambda connected: connected.wire.put(key, query, headers, body, pace), stop)

    def get(self, key: str, into: memoryview, stop: threading.Event | None = None) -> int:
        """Fill `into` with a whole object; its size. See `Wire.get`."""
        return self._until_answered("get_object", lambda connected: connected.wire.get(key, into), stop)

    def get_range(self, key: str, start: int, length: int, sink: Sink, stop: threading.Event | None = None) -> int:
        """Hand an object's bytes from `start` on to `sink`; the size of the whole object. See `Wire.get_range`."""
        return self._until_answered("get_object", lambda connected: connected.wire.get_range(key, start, length, sink), stop)

    def presigned(self, key: str, seconds: int) -> str:
        """A link to an object."""
        target = {"Bucket": self.settings.bucket, "Key": key}
        return self._connected.client.generate_presigned_url("get_object", Params=target, ExpiresIn=seconds)

    def _until_answered(self, request: str, act: Callable[[_Connected], Answer], stop: threading.Event | None) -> Answer:
        began = time.monotonic()
        garbled = tries = 0
        while True:
            tries += 1
            connected = self._connected
            try:
                answer = act(connected)
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
                if code in MISSING:
                    self._reached = True
                    raise MissingError(code) from None
                if code in CONFLICT:
                    self._reached = True
                    raise ConflictError(request) from None
                if code in STALE_SECRET and self._renew_secret(connected):
                    continue
                garbled += code in GARBLED
                again = status >= 500 or status in (0, 408, 425, 429) or code in PASSING
                if not again and not (code in GARBLED and garbled < GARBLED_TRIES):
                    raise explain(self.url, request, code, status) from None
                reason = f"{status} {code}"
            except (NoCredentialsError, PartialCredentialsError):
                raise UserError(
                    f"{self.url}: no credentials: give storage.s3.credentials, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                ) from None
            except _NO_ANSWER as error:
                # Every other failure of TLS may be a connection that was cut.
                if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
                    raise UserError(
                        f"{self._endpoint}: certificate not trusted: name the file of its authority in storage.s3.caBundle"
                    ) from None
                reason = type(error).__name__
            except BotoCoreError as error:
                raise UserError(f"{self.url}: {type(error).__name__}: correct storage.s3") from None
            else:
                self._reached = True
                self.trouble = ""
                return answer
            self._pause(reason, request, tries, began, stop)

    @property
    def _endpoint(self) -> str:
        return self.settings.endpoint or self.url

    def _pause(self, reason: str, request: str, tries: int, began: float, stop: threading.Event | None) -> None:
        window = self._retry_seconds if self._reached else min(self._retry_seconds, FIRST_CONTACT_SECONDS)
        self.trouble = f"{self._endpoint}: {request}: {reason}: see that the store is up and storage.s3.endpoint is right"
        # Jitter: many uploaders that lost the same server do not come back all at once.
        pause = random.uniform(0.05, min(LONGEST_PAUSE, 0.2 * 2 ** min(tries, 8)))
        if time.monotonic() - began + pause > window:
            raise StoreError(
                f"{self._endpoint}: {request} failed for {window:.0f} s, last with {reason}: "
                "see that the store is up and storage.s3.endpoint is right, then run again to go on"
            )
        if tries in (3, 6) or tries % 10 == 0:
            log.warning("store does not answer", store=self.url, request=request, reason=reason, tries=tries)
        if stop is None:
            time.sleep(pause)
        elif stop.wait(pause):
            raise StoppedError

    def _connect(self, secret: dict[str, str]) -> _Connected:
        settings = self.settings
        path_style = settings.path_style if settings.path_style is not None else settings.endpoint is not None
        config = Config(
            region_name=settings.region,
            s3={"addressing_style": "path" if path_style else "auto"},
            signature_version="s3v4",  # links too: by default those are of a version that newer buckets refuse
            retries={"total_max_attempts": 1},  # done here, for all kinds of failure alike
            connect_timeout=10,
            read_timeout=60,
            tcp_keepalive=True,
            parameter_validation=False,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        if settings.ca_bundle is not None:
            try:
                ssl.create_default_context(cafile=settings.ca_bundle)
            except OSError:  # ssl.SSLError among them
                raise UserError(
                    f"storage.s3.caBundle: {settings.ca_bundle}: holds no certificate that can be read: "
                    "give a PEM file of the store's authority"
                ) from None
        try:
            core = botocore.session.get_session()
            core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_parse_time)
            session = boto3.Session(
                botocore_session=core,
                aws_access_key_id=secret.get(_KEYS[0]),
                aws_secret_access_key=secret.get(_KEYS[1]),
                aws_session_token=secret.get(_KEYS[2]),
                region_name=settings.region or (None if settings.endpoint is None else "us-east-1"),
            )
            client = session.client("s3", endpoint_url=settings.endpoint, config=config, verify=settings.ca_bundle)
        except (BotoCoreError, ValueError, OSError) as error:
            raise UserError(f"storage.s3: {type(error).__name__}: correct endpoint, region and caBundle") from None
        return _Connected(secret, session, client, settings)

    def _read_secret(self) -> dict[str, str]:
        chosen = self.settings.credentials
        if chosen is None:
            return {}
        folder = Path(chosen.secret_folder) if chosen.secret_folder is not None else Path(S3_SECRET)
        if chosen.secret_name is not None and not folder.is_dir():
            return {}
        found = {name: (folder / name).read_text().strip() for name in _KEYS if (folder / name).is_file()}
        for name in _KEYS[:2]:
            if not found.get(name):
                raise UserError(f"{folder / name}: is missing or empty: storage.s3.credentials needs it")
        return found

    def _renew_secret(self, used: _Connected) -> bool:
        """Connect again if the Secret's files have changed since the request was signed: it may have been rotated."""
        with self._lock:
            if self._connected is not used:
                return True  # another thread has just done it
            fresh = self._read_secret()
            if fresh == used.secret:
                return False
            self._connected = self._connect(fresh)
            return True


def _parse_time(told: str) -> datetime:
    """boto3's own way takes more time for a listing than all else that is done with it."""
    try:
        return datetime.fromisoformat(told)
    except (ValueError, TypeError):  # the form of a header, or a number of seconds
        return parse_timestamp(told)
