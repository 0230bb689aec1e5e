"""One multipart upload: parts that the store has from an earlier try are not sent again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any, Self

from deepicd.artifacts.store.s3.client import Bucket
from deepicd.artifacts.store.s3.error_codes import MissingError
from deepicd.artifacts.store.s3.transport import Pace, checksum

Part = dict[str, Any]
"""A part as boto3 names it: PartNumber, ETag, ChecksumCRC32; Size where it is listed."""


@dataclass(frozen=True)
class MultipartUpload:
    """An upload of one object that is not completed."""

    bucket: Bucket
    key: str
    upload: str
    """The store's id of it."""
    present: dict[int, Part] = field(default_factory=dict)
    """Parts that the store already has, by number, as it lists them."""

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
            found = cls(bucket, key, str(upload["UploadId"]))
            try:
                for page in bucket.pages("list_parts", Key=key, UploadId=found.upload):
                    found.present.update({part["PartNumber"]: part for part in page.get("Parts", [])})
            except MissingError:
                continue
            return found
        return None

    def send(self, number: int, content: bytes, pace: Pace, stop: threading.Event) -> Part:
        """Send a part, unless the store has the same one.

        Raises:
            MissingError: the upload was completed or aborted by somebody else.
        """
        part = {"PartNumber": number, "ChecksumCRC32": checksum(content)}
        present = self.present.get(number)
        if present is not None and _is_same(present, content, part):
            return {**part, "ETag": present["ETag"]}
        query = {"partNumber": str(number), "uploadId": self.upload}
        body = memoryview(content)
        etag = self.bucket.request("upload_part", lambda transport: transport.put(self.key, body, query, {}, pace), stop)
        return {**part, "ETag": etag}

    def complete(self, parts: list[Part]) -> None:
        """Make the object of the parts.

        Raises:
            MissingError: the upload is gone, and the object is not what these parts make.
        """
        try:
            self.bucket.call("complete_multipart_upload", Key=self.key, UploadId=self.upload, MultipartUpload={"Parts": parts})
        except MissingError:
            # An earlier try may have succeeded, and its answer been lost.
            if self.bucket.call("head_object", Key=self.key)["ETag"].strip('"') != _etag(parts):
                raise


def _is_same(present: Part, content: bytes, part: Part) -> bool:
    """Whether a part in the store is this one, by its checksum, or by its MD5 where the store lists no checksums."""
    if present["Size"] != len(content):
        return False
    if "ChecksumCRC32" in present:
        return bool(present["ChecksumCRC32"] == part["ChecksumCRC32"])
    return bool(present["ETag"].strip('"') == md5(content, usedforsecurity=False).hexdigest())


def _etag(parts: list[Part]) -> str | None:
    """The ETag of the object that parts make: the MD5 of their MD5s; None where their ETags are no MD5s."""
    try:
        digests = b"".join(bytes.fromhex(part["ETag"].strip('"')) for part in parts)
    except ValueError:
        return None
    return f"{md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
