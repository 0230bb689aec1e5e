"""AWS Signature Version 4 of one request, as the S3 API wants it.

boto3 signs too, but a request through it costs a millisecond of CPU: the many requests that carry data are signed here.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote

from botocore.credentials import ReadOnlyCredentials

UNSIGNED = "UNSIGNED-PAYLOAD"
"""Stands for the SHA-256 of a body whose integrity a signed checksum header vouches for."""


def signed(
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    credentials: ReadOnlyCredentials,
    region: str,
    now: datetime,
) -> dict[str, str]:
    """The headers, and those that prove who sends them.

    `path`: quoted; `headers`: names in lower case, `host` among them; `now`: UTC.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    found = {**headers, "x-amz-content-sha256": UNSIGNED, "x-amz-date": stamp}
    if credentials.token:
        found["x-amz-security-token"] = credentials.token
    names = sorted(found)
    listed = ";".join(names)
    lines = [method, path, query_string(query), *(f"{name}:{found[name].strip()}" for name in names), "", listed, UNSIGNED]
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = sha256("\n".join(lines).encode()).hexdigest()
    key = _key(credentials.secret_key, stamp[:8], region)
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}".encode(), "sha256").hex()
    proof = f"Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
    found["authorization"] = f"AWS4-HMAC-SHA256 {proof}"
    return found


@lru_cache(maxsize=4)
def _key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def query_string(query: Mapping[str, str]) -> str:
    """The parameters in the order and quoting that are signed."""
    return "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
