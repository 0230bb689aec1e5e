"""`storage`: where a run's artefacts are kept, apart from the machine that made them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from deepicd.spec.base import Size, SpecModel
from deepicd.spec.changes import MayChange
from deepicd.spec.compute import NAME_PATTERN
from deepicd.spec.rules import equals, exactly_one, matches, python_only, requires
from deepicd.spec.wording import pattern

_PORTS = {"http": 80, "https": 443}
_REMEDY = "give http:// or https://, a host name or IP address, and optionally a colon and a port"
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\.?", re.A)
_PART = r"(\.{0,2}[^./]|\.{3}|$)[^/]*"
"""A part of a prefix that is neither `.` nor `..`; the empty prefix has none."""


class S3Credentials(SpecModel):
    """Source of the access key; by default boto3's own search order (environment, workload identity, …)."""

    secret_name: str | None = Field(default=None, pattern=NAME_PATTERN, max_length=253)
    """On a cluster: the Secret with the keys `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and optionally
    `AWS_SESSION_TOKEN`. No effect elsewhere."""
    secret_folder: str | None = Field(default=None, min_length=1)
    """A folder with files of these names, such as a mounted Secret."""

    rules = (exactly_one("secretName", "secretFolder"),)


class S3Encryption(SpecModel):
    """Encryption by the server."""

    type: Literal["s3", "kms"]
    """`s3`: with the server's own key (SSE-S3); `kms`: with a key of the key management service (SSE-KMS)."""
    kms_key_id: str | None = Field(default=None, pattern=pattern(r"^[!-~]+$", "the id of a key, without spaces"))
    """The key of type `kms`; by default the bucket's key."""

    rules = (requires("kmsKeyId", equals("type", "kms"), "kmsKeyId goes with type: kms"),)


@dataclass(frozen=True)
class Address:
    """Host and port of a server."""

    host: str
    port: int


def refuse_credentials(section: Any, instead: str, field: str = "endpoint") -> Any:
    """Return what a section of run.yaml holds, unless the address in its field has credentials; `instead`: the field for them.

    Called before the fields are checked, since a field's error would show the value.

    Raises:
        ValueError: the address has a user, a password or a query, which may hold a key.
    """
    address = str(section.get(field)) if isinstance(section, dict) else ""
    if "@" in address:
        raise ValueError(f"{field}: has a user or password in it: remove them, and give {instead}")
    if "?" in address or "#" in address:
        raise ValueError(f"{field}: has a query or fragment (from ? or # on): remove it, and give a key by {instead}")
    return section


def address_of(endpoint: str) -> Address:
    """Host and port of an endpoint's address; by default the port of its scheme.

    Raises:
        ValueError: it is not an address.
    """
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
        if ":" in host:
            IPv6Address(host)
    except ValueError as error:
        raise ValueError(f"is not an address ({error}): {_REMEDY}") from None
    if ":" not in host and not _HOST.fullmatch(host):
        raise ValueError(f"is not an address (no host name): {_REMEDY}")
    rest = parts.path.strip("/") + parts.query + parts.fragment
    if parts.scheme not in _PORTS or port == 0 or parts.netloc.endswith(":") or rest:
        raise ValueError(f"is not an address (not just scheme, host and port): {_REMEDY}")
    return Address(host, port or _PORTS[parts.scheme])


class S3Spec(SpecModel):
    """A bucket of any S3-compatible store."""

    bucket: str = Field(
        pattern=pattern(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", "3 to 63 lower-case letters, digits, '-' and '.'")
    )
    """Name of the bucket, which must exist."""
    prefix: str = Field(
        default="",
        pattern=pattern(
            r"^([A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*)?$",
            "letters, digits and !_.*'()-, in parts separated by single slashes, none at either end",
        ),
    )
    """Key prefix of all runs."""
    endpoint: str | None = Field(
        default=None,
        pattern=pattern(r"^https?://[^/\s@]+/?$", "http:// or https://, a host and optionally a port, without a path"),
    )
    """Address of the store, `https://…`; the default is AWS."""
    region: str | None = Field(
        default=None, pattern=pattern(r"^[a-z0-9-]+$", "a region such as eu-central-1: lower-case letters, digits and '-'")
    )
    """Region of the bucket."""
    credentials: S3Credentials | None = None
    """Source of the access key."""
    ca_bundle: str | None = Field(default=None, min_length=1)
    """File with the CA certificates of the store, if they are not public."""
    path_style: bool | None = None
    """Put the bucket in the path instead of the host name; the default with an endpoint."""
    encryption: S3Encryption | None = None
    """Encryption by the server; the default is the bucket's."""

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_endpoint(cls, value: Any) -> Any:
        return refuse_credentials(value, "credentials")

    rules = (
        matches("prefix", rf"^{_PART}(/{_PART})*$", "prefix: a part of it cannot be '.' or '..'"),
        python_only("endpoint: ", lambda s3: s3.endpoint is None or address_of(s3.endpoint)),
    )


class StorageSpec(SpecModel):
    """The store, and what it keeps."""

    s3: S3Spec | None = None
    """A bucket."""
    folder: str | None = Field(default=None, min_length=1)
    """A folder, for example on a file server."""
    keep_last: MayChange[int] = Field(default=3, ge=1)
    """Number of newest checkpoints to keep per stage."""
    keep_best: MayChange[int] = Field(default=1, ge=0)
    """Number of additional checkpoints to keep per stage: those with the highest validation reward."""
    rollouts: MayChange[bool] = False
    """Also upload the completions that `stages.grpo.keepRollouts` keeps. They contain note text: use a store that may hold
    it."""
    max_bytes_per_second: MayChange[Size | None] = None
    """Upload no faster than this."""

    rules = (exactly_one("s3", "folder"),)
