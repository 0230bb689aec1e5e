"""One bucket through boto3: every request with our retries, every error with its remedy."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.exceptions import ConnectionError as StoreConnectionError
from botocore.parsers import ResponseParserError

from deepicd.artifacts.store.base import ConflictError
from deepicd.errors import DeepICDError, StoreError, UserError
from deepicd.spec.storage import S3Spec

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MOUNTED_SECRET = Path("/var/run/secrets/deepicd/s3")
"""Where the operator mounts the Secret that `credentials.secretName` names."""
CONNECTIONS = 12
FIRST_CONTACT_SECONDS = 20.0
"""A store that has never answered is given up sooner: its address is more likely wrong than it is down."""
LONGEST_PAUSE = 5.0
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_MISSING = {"NoSuchKey", "404", "NotFound"}
_CONFLICT = {"PreconditionFailed", "412", "ConditionalRequestConflict"}
_STALE_SECRET = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_REMEDIES = {
    "NoSuchBucket": "the bucket does not exist: create it, or correct storage.s3.bucket",
    "InvalidBucketName": "no bucket can have this name: correct storage.s3.bucket",
    "AccessDenied": "access denied: let these credentials list, read, write and delete below this prefix",
    "AllAccessDisabled": "access denied: let these credentials list, read, write and delete below this prefix",
    "403": "access denied: let these credentials list, read, write and delete below this prefix",
    "InvalidAccessKeyId": "the store does not know this access key: correct the credentials",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key: correct the credentials",
    "ExpiredToken": "the credentials have expired: renew them",
    "InvalidToken": "the session token is not valid: renew the credentials",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it (NTP)",
    "PermanentRedirect": "the bucket is in another region: set storage.s3.region",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set storage.s3.region",
    "KMS.NotFoundException": "the key does not exist: correct storage.s3.encryption.kmsKeyId",
    "EntityTooLarge": "the store refuses files of this size: see its settings",
    "QuotaExceeded": "the store's quota is used up: free space there",
}  # fmt: skip
# A corrupted request or answer is sent again: what the store says of it may be any of these.
_GARBLED = {
    "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest", "SignatureDoesNotMatch",
    "InvalidPart", "InvalidPartOrder", "MalformedXML",
}  # fmt: skip
_GARBLED_TRIES = 4

log = structlog.get_logger()


class MissingError(Exception):
    """There is no object of that key, or no such upload."""


class Bucket:
    """Requests to one bucket. Safe for threads."""

    def __init__(self, settings: S3Spec, retry_seconds: float) -> None:
        self.settings = settings
        self.url = f"s3://{settings.bucket}"
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._reached = False
        self._secret = self._read_secret()
        self._client = self._connect()

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One request; the answer's body, if it has one, is read whole into `Body` as bytes.

        Raises:
            MissingError: no such object or upload.
            ConflictError: a condition does not hold.
            UserError: the user must change something.
            StoreError: it failed for `retry_seconds`.
        """
        began = time.monotonic()
        garbled = tries = 0
        while True:
            tries += 1
            try:
                answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self.settings.bucket, **arguments)
                if "Body" in answer:
                    answer["Body"] = answer["Body"].read()
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
                if code in _MISSING or code == "NoSuchUpload":
                    self._reached = True
                    raise MissingError(code) from None
                if code in _CONFLICT:
                    self._reached = True
                    raise ConflictError(str(arguments.get("Key", ""))) from None
                if code in _STALE_SECRET and self._renew_secret():
                    continue
                garbled += code in _GARBLED
                again = (
                    status >= 500 or status in (0, 408, 425, 429) or code in ("RequestTimeout", "SlowDown", "OperationAborted")
                )
                if not again and not (code in _GARBLED and garbled < _GARBLED_TRIES):
                    raise self._explain(code, status, operation) from None
                reason = f"{status} {code}"
            except (NoCredentialsError, PartialCredentialsError):
                raise UserError(
                    f"{self.url}: no credentials: give storage.s3.credentials, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                ) from None
            except SSLError:
                raise UserError(
                    f"{self._endpoint}: its TLS certificate is not trusted: name its authority's file in storage.s3.caBundle"
                ) from None
            except (StoreConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError, OSError) as error:
                reason = type(error).__name__
            except BotoCoreError as error:
                raise UserError(f"{self.url}: {type(error).__name__}: correct storage.s3") from None
            else:
                self._reached = True
                return answer
            self._pause(reason, operation, tries, began)

    def presigned(self, key: str, seconds: int) -> str:
        """A link to an object."""
        target = {"Bucket": self.settings.bucket, "Key": key}
        return self._client.generate_presigned_url("get_object", Params=target, ExpiresIn=seconds)

    @property
    def _endpoint(self) -> str:
        return self.settings.endpoint or self.url

    def _pause(self, reason: str, operation: str, tries: int, began: float) -> None:
        window = self._retry_seconds if self._reached else min(self._retry_seconds, FIRST_CONTACT_SECONDS)
        # Full jitter: many uploaders that lost the same server do not come back all at once.
        pause = random.uniform(0.05, min(LONGEST_PAUSE, 0.2 * 2 ** min(tries, 8)))
        if time.monotonic() - began + pause > window:
            raise StoreError(
                f"{self._endpoint}: {operation} failed for {window:.0f} s, last with {reason}: "
                "see that the store is up and storage.s3.endpoint is right, then run again to go on"
            )
        if tries in (3, 6) or tries % 10 == 0:
            log.warning("store does not answer", store=self.url, request=operation, reason=reason, tries=tries)
        time.sleep(pause)

    def _explain(self, code: str, status: int, operation: str) -> DeepICDError:
        if code in _REMEDIES:
            return UserError(f"{self.url}: {_REMEDIES[code]}")
        if code in _GARBLED:
            return StoreError(f"{self.url}: {operation} arrived altered {_GARBLED_TRIES} times: see to the network in between")
        return UserError(f"{self.url}: {operation} was refused ({code or status}): correct storage.s3, or see the store's log")

    def _connect(self) -> S3Client:
        settings = self.settings
        path_style = settings.path_style if settings.path_style is not None else settings.endpoint is not None
        config = Config(
            region_name=settings.region,
            s3={"addressing_style": "path" if path_style else "auto"},
            retries={"total_max_attempts": 1},  # `call` does it, for all kinds of failure alike
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
            parameter_validation=False,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            session = boto3.Session(
                aws_access_key_id=self._secret.get(_KEYS[0]),
                aws_secret_access_key=self._secret.get(_KEYS[1]),
                aws_session_token=self._secret.get(_KEYS[2]),
                region_name=settings.region or (None if settings.endpoint is None else "us-east-1"),
            )
            return session.client("s3", endpoint_url=settings.endpoint, config=config, verify=settings.ca_bundle)
        except (BotoCoreError, ValueError, OSError) as error:
            raise UserError(f"storage.s3: {type(error).__name__}: correct endpoint, region and caBundle") from None

    def _read_secret(self) -> dict[str, str]:
        chosen = self.settings.credentials
        if chosen is None:
            return {}
        folder = Path(chosen.secret_folder) if chosen.secret_folder is not None else MOUNTED_SECRET
        if chosen.secret_name is not None and not folder.is_dir():
            return {}
        found = {name: (folder / name).read_text().strip() for name in _KEYS if (folder / name).is_file()}
        for name in _KEYS[:2]:
            if not found.get(name):
                raise UserError(f"{folder / name}: is missing or empty: storage.s3.credentials needs it")
        return found

    def _renew_secret(self) -> bool:
        """Connect again if the Secret's files have changed since: it may have been rotated."""
        with self._lock:
            fresh = self._read_secret()
            if fresh == self._secret:
                return False
            self._secret = fresh
            self._client = self._connect()
            return True
