"""One bucket: requests with retries, errors with a remedy."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import structlog
from botocore import exceptions
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from deepicd.artifacts.store.s3 import error_codes
from deepicd.artifacts.store.s3.parallel import StoppedError
from deepicd.artifacts.store.s3.transport import Transport
from deepicd.errors import StoreError, UserError
from deepicd.spec.environment import S3_SECRET, S3_SECRET_KEYS, S3_SESSION_TOKEN
from deepicd.spec.storage import S3Spec

FIRST_CONTACT_SECONDS = 20.0
"""Shorter retry limit for a store that has never answered: its address is probably wrong."""
LONGEST_PAUSE = 5.0
_NO_ANSWER = (
    exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError, ResponseParserError,
    HTTPError, OSError,
)  # fmt: skip

log = structlog.get_logger()
Answer = TypeVar("Answer")


def _is_untrusted(error: BaseException | None) -> bool:
    """Whether the store's certificate was refused; urllib3 and botocore each wrap that error in their own."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


class Bucket:
    """Requests to one bucket. Safe for threads.

    Each of `call`, `pages` and `request` raises
        MissingError, OutOfRangeError, ConflictError: see `error_codes`.
        UserError: the user must change something.
        StoreError: it failed for `retry_seconds`.
        StoppedError: `stop` was set during the tries.
    """

    def __init__(self, settings: S3Spec, retry_seconds: float) -> None:
        self.url = f"s3://{settings.bucket}"
        self._endpoint = settings.endpoint or self.url
        self._settings = settings
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._reached = False
        self.trouble = ""
        """See `Store.trouble`."""
        self.transport = Transport(settings, self._read_secret())

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Make one request with boto3; the answer's body, if it has one, is read whole into `Body` as bytes."""

        def act(transport: Transport) -> dict[str, Any]:
            answer: dict[str, Any] = getattr(transport.client, operation)(Bucket=self._settings.bucket, **arguments)
            if "Body" in answer:
                answer["Body"] = answer["Body"].read()
            return answer

        creates = operation in ("put_object", "create_multipart_upload") and "IfMatch" not in arguments
        return self.request(operation, act, creates=creates)

    def pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """The pages of a listing."""
        while True:
            page = self.call(operation, **arguments)
            yield page
            if not page.get("IsTruncated"):
                return
            arguments |= {name.removeprefix("Next"): value for name, value in page.items() if name.startswith("Next")}

    def request(
        self, name: str, act: Callable[[Transport], Answer], stop: threading.Event | None = None, *, creates: bool = False
    ) -> Answer:
        """The result of `act`, which makes one request and is retried after a transient failure.

        `creates`: the request needs nothing to exist, so a 404 comes from a server that is starting or stopping.
        """
        began = time.monotonic()
        garbled = tries = 0
        while True:
            tries += 1
            transport = self.transport
            try:
                answer = act(transport)
            except exceptions.ClientError as error:
                status, code = error_codes.status_and_code(error)
                unsettled = creates and error_codes.EXPECTED.get(code) is error_codes.MissingError
                if code in error_codes.EXPECTED and not unsettled:
                    self._reached = True
                    raise error_codes.EXPECTED[code](name) from None
                if code in error_codes.STALE_SECRET and self._renew_secret(transport):
                    continue
                garbled += code in error_codes.GARBLED
                retry = unsettled or (code in error_codes.GARBLED and garbled < error_codes.GARBLED_TRIES)
                if not retry and status not in error_codes.TRANSIENT_STATUS and code not in error_codes.TRANSIENT:
                    raise error_codes.explain(self.url, name, error) from None
                reason = f"{status} {code}"
            except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
                names = " and ".join(S3_SECRET_KEYS)
                raise UserError(f"{self.url}: no credentials: give storage.s3.credentials, or {names}") from None
            except _NO_ANSWER as error:
                # Any other TLS failure may be a dropped connection.
                if _is_untrusted(error):
                    raise UserError(
                        f"{self._endpoint}: certificate not trusted: name the file of its authority in storage.s3.caBundle"
                    ) from None
                reason = type(error).__name__
            except exceptions.BotoCoreError as error:
                raise UserError(f"{self.url}: {type(error).__name__}: correct storage.s3") from None
            else:
                self._reached = True
                self.trouble = ""
                return answer
            self._pause(reason, name, tries, began, stop)

    def _pause(self, reason: str, request: str, tries: int, began: float, stop: threading.Event | None) -> None:
        window = self._retry_seconds if self._reached else min(self._retry_seconds, FIRST_CONTACT_SECONDS)
        self.trouble = f"{self._endpoint}: {request}: {reason}: check that the store is up and its address is right"
        # Jitter: many uploaders that lost the same server do not all retry at the same time.
        pause = random.uniform(0.05, min(LONGEST_PAUSE, 0.2 * 2 ** min(tries, 8)))
        if time.monotonic() - began + pause > window:
            raise StoreError(
                f"{self._endpoint}: {request} failed for {window:.0f} s, last with {reason}: check that the store is up and "
                "that its address (storage.s3.endpoint or --endpoint-url), HTTPS_PROXY and NO_PROXY are right, then try again"
            )
        if tries in (3, 6) or tries % 10 == 0:
            log.warning("store does not answer", store=self.url, request=request, reason=reason, tries=tries)
        if (stop or threading.Event()).wait(pause):
            raise StoppedError

    def _read_secret(self) -> Mapping[str, str]:
        chosen = self._settings.credentials
        if chosen is None:
            return {}
        folder = Path(chosen.secret_folder) if chosen.secret_folder is not None else Path(S3_SECRET)
        if chosen.secret_name is not None and not folder.is_dir():
            return {}
        names = (*S3_SECRET_KEYS, S3_SESSION_TOKEN)
        found = {name: (folder / name).read_text().strip() for name in names if (folder / name).is_file()}
        for name in S3_SECRET_KEYS:
            if not found.get(name):
                raise UserError(f"{folder / name}: is missing or empty: storage.s3.credentials needs it")
        return found

    def _renew_secret(self, used: Transport) -> bool:
        """Read the Secret's files again; returns whether they changed since the request was signed, as after a rotation."""
        with self._lock:
            if self.transport is used:  # otherwise another thread has just done it
                fresh = self._read_secret()
                if fresh == used.secret:
                    return False
                self.transport = Transport(self._settings, fresh)
        return True
