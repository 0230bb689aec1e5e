"""One multipart upload: parts that the store has of an earlier try are not sent again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any, Self

from deepicd.artifacts.store.base import OnBytes
from deepicd.artifacts.store.s3.client import Bucket, MissingError
from deepicd.artifacts.store.s3.connection import Pace

CHECKSUM = "x-amz-checksum-crc32"


@dataclass(frozen=True)
class Part:
    """A part that the store has."""

    number: int
    etag: str
    crc32: str


@dataclass(frozen=True)
class MultipartUpload:
    """An upload of one object that was begun and not completed."""

    bucket: Bucket
    key: str
    upload: str
    """The id that the store gave it."""
    present: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Parts that the store has already, by their number, as it lists them."""

    @classmethod
    def begun(cls, bucket: Bucket, key: str, encryption: dict[str, str]) -> Self:
        """A new one."""
        answer = bucket.call("create_multipart_upload", Key=key, ChecksumAlgorithm="CRC32", **encryption)
        return cls(bucket, key, str(answer["UploadId"]))

    @classmethod
    def resumed(cls, bucket: Bucket, key: str) -> Self | None:
        """The newest of this key that was not completed, if there is one."""
        listed = bucket.call("list_multipart_uploads", Prefix=key).get("Uploads", [])
        uploads = [upload for upload in listed if upload["Key"] == key]
        for upload in sorted(uploads, key=lambda item: item["Initiated"], reverse=True):
            try:
                return cls(bucket, key, str(upload["UploadId"]), _parts(bucket, key, str(upload["UploadId"])))
            except MissingError:
                continue
        return None

    def send(
        self, number: int, content: memoryview, checksum: str, pace: Pace | None, stop: threading.Event, on_bytes: OnBytes
    ) -> Part:
        """Send a part, unless the store has this very one.

        Raises:
            MissingError: the upload was completed or given up by somebody else.
        """
        present = self.present.get(number)
        if present is not None and _is_same(present, content, checksum):
            etag = str(present["ETag"])
        else:
            query = {"partNumber": str(number), "uploadId": self.upload}
            etag = self.bucket.put(self.key, content, query=query, headers={CHECKSUM: checksum}, pace=pace, stop=stop)
        on_bytes(len(content))
        return Part(number, etag, checksum)

    def complete(self, parts: list[Part]) -> None:
        """Make the object of the parts.

        Raises:
            MissingError: the upload is gone, and the object is not what these parts make.
        """
        listed = [{"PartNumber": part.number, "ETag": part.etag, "ChecksumCRC32": part.crc32} for part in parts]
        try:
            self.bucket.call("complete_multipart_upload", Key=self.key, UploadId=self.upload, MultipartUpload={"Parts": listed})
        except MissingError:
            # An earlier try may have come through, its answer lost.
            if self.bucket.call("head_object", Key=self.key)["ETag"].strip('"') != _etag(parts):
                raise


def _parts(bucket: Bucket, key: str, upload: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    marker = 0
    while True:
        answer = bucket.call("list_parts", Key=key, UploadId=upload, PartNumberMarker=marker)
        found |= {part["PartNumber"]: part for part in answer.get("Parts", [])}
        if not answer.get("IsTruncated"):
            return found
        marker = answer["NextPartNumberMarker"]


def _is_same(present: dict[str, Any], content: memoryview, checksum: str) -> bool:
    """Whether a part in the store is this one, by its checksum, or by its MD5 where the store lists no checksums."""
    if present["Size"] != len(content):
        return False
    if "ChecksumCRC32" in present:
        return bool(present["ChecksumCRC32"] == checksum)
    return bool(present["ETag"].strip('"') == md5(content, usedforsecurity=False).hexdigest())


def _etag(parts: list[Part]) -> str | None:
    """The ETag of the object that parts make: the MD5 of their MD5s; None where their ETags are no MD5s."""
    try:
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    except ValueError:
        return None
    return f"{md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
