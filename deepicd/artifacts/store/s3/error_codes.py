"""What a store's error codes mean: for the caller, for a retry, for the user."""

from __future__ import annotations

from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from deepicd.artifacts.store.base import ConflictError
from deepicd.errors import DeepICDError, StoreError, UserError


class MissingError(Exception):
    """No such object, or no such multipart upload."""


class OutOfRangeError(Exception):
    """The object ends before the requested range."""


EXPECTED: dict[str, type[Exception]] = {
    "NoSuchKey": MissingError, "NoSuchUpload": MissingError, "NotFound": MissingError, "404": MissingError,
    "PreconditionFailed": ConflictError, "412": ConflictError,
    "InvalidRange": OutOfRangeError, "416": OutOfRangeError,
}  # fmt: skip
"""Errors that the caller handles."""
STALE_SECRET = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
# Codes that stores give to a corrupted request; it is sent again.
GARBLED = {
    "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest", "SignatureDoesNotMatch",
    "InvalidPart", "InvalidPartOrder", "MalformedXML",
}  # fmt: skip
GARBLED_TRIES = 4
TRANSIENT = {"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict"}
TRANSIENT_STATUS = {0, 408, 425, 429, *range(500, 600)}

_REMEDIES = {
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "403"),
        "access denied: let these credentials list, read, write and delete below this prefix",
    ),
    **dict.fromkeys(
        ("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301"),
        "the bucket is in another region: set storage.s3.region",
    ),
    "NoSuchBucket": "the bucket does not exist: create it, or correct storage.s3.bucket",
    "InvalidBucketName": "no bucket can have this name: correct storage.s3.bucket",
    "InvalidAccessKeyId": "the store does not know this access key: correct the credentials",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key: correct the credentials",
    "ExpiredToken": "the credentials have expired: renew them",
    "InvalidToken": "the session token is not valid: renew the credentials",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it (NTP)",
    "407": "the proxy asks for a user and password: write http://USER:PASSWORD@PROXY in HTTPS_PROXY or HTTP_PROXY",
    "KMS.NotFoundException": "the key does not exist: correct storage.s3.encryption.kmsKeyId",
    "EntityTooLarge": "the store refuses files of this size: see its settings",
    "QuotaExceeded": "the store's quota is used up: free space there",
}


def status_and_code(error: ClientError) -> tuple[int, str]:
    """HTTP status and the store's code of an error; 0 and "" if unknown."""
    metadata = error.response.get("ResponseMetadata", {})
    return int(metadata.get("HTTPStatusCode", 0)), str(error.response.get("Error", {}).get("Code", ""))


def explain(store: str, request: str, error: ClientError) -> DeepICDError:
    """The error for the user: one line with the remedy."""
    status, code = status_and_code(error)
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if 300 <= status < 400 and code == str(status) and "location" in headers and "x-amz-bucket-region" not in headers:
        target = urlsplit(headers["location"])
        where = f"{target.scheme}://{target.netloc}" if target.netloc else "another path"
        return UserError(f"{store}: redirects to {where}: set storage.s3.endpoint to the address of the S3 API")
    if code in _REMEDIES:
        return UserError(f"{store}: {_REMEDIES[code]}")
    if code in GARBLED:
        return StoreError(f"{store}: {request} arrived altered {GARBLED_TRIES} times: see to the network in between")
    return UserError(f"{store}: {request} was refused ({code or status}): correct storage.s3, or see the store's log")
