"""What a store's refusal means for the user."""

from __future__ import annotations

from deepicd.errors import DeepICDError, StoreError, UserError

MISSING = {"NoSuchKey", "NoSuchUpload", "NotFound", "404"}
CONFLICT = {"PreconditionFailed", "412"}
STALE_SECRET = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
PASSING = {"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict"}
# A corrupted request or answer is sent again: what the store says of it may be any of these.
GARBLED = {
    "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest", "SignatureDoesNotMatch",
    "InvalidPart", "InvalidPartOrder", "MalformedXML",
}  # fmt: skip
GARBLED_TRIES = 4

_DENIED = "access denied: let these credentials list, read, write and delete below this prefix"
_OTHER_REGION = "the bucket is in another region: set storage.s3.region"
_REMEDIES = {
    "NoSuchBucket": "the bucket does not exist: create it, or correct storage.s3.bucket",
    "InvalidBucketName": "no bucket can have this name: correct storage.s3.bucket",
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": "the store does not know this access key: correct the credentials",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key: correct the credentials",
    "ExpiredToken": "the credentials have expired: renew them",
    "InvalidToken": "the session token is not valid: renew the credentials",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it (NTP)",
    "PermanentRedirect": _OTHER_REGION,
    "TemporaryRedirect": _OTHER_REGION,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "301": _OTHER_REGION,
    "KMS.NotFoundException": "the key does not exist: correct storage.s3.encryption.kmsKeyId",
    "EntityTooLarge": "the store refuses files of this size: see its settings",
    "QuotaExceeded": "the store's quota is used up: free space there",
}


def explain(store: str, request: str, code: str, status: int) -> DeepICDError:
    """The error that a refusal ends in."""
    if code in _REMEDIES:
        return UserError(f"{store}: {_REMEDIES[code]}")
    if code in GARBLED:
        return StoreError(f"{store}: {request} arrived altered {GARBLED_TRIES} times: see to the network in between")
    return UserError(f"{store}: {request} was refused ({code or status}): correct storage.s3, or see the store's log")
