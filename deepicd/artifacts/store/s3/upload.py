"""Upload files to a bucket: each is read once, hashed and sent in the same pass, with bounded memory.

Large files are sent as multipart uploads: parts that the store has from an earlier try are not sent again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import md5, sha256
from itertools import count
from pathlib import Path
from queue import LifoQueue
from typing import Any, BinaryIO, Self

from deepicd.artifacts.store.base import ChangedError, OnBytes, Transferred
from deepicd.artifacts.store.s3.client import Bucket
from deepicd.artifacts.store.s3.error_codes import MissingError
from deepicd.artifacts.store.s3.parallel import AT_ONCE, StoppedError, in_parallel
from deepicd.artifacts.store.s3.transport import Content, Pace, checksum
from deepicd.errors import StoreError

PART_BYTES = 8 * 2**20
MEMORY_BYTES = 96 * 2**20
"""Limit for all uploads together; parts of a file beyond 80 GB are larger, and this then limits the parts of one file."""
MOST_PARTS = 10_000
"""The S3 limit of one multipart upload."""
UPLOAD_TRIES = 3
"""Tries of a multipart upload that other clients complete or abort."""

Part = dict[str, Any]
"""A part as boto3 names it: PartNumber, ETag, ChecksumCRC32; Size where it is listed."""


def part_size(size: int) -> int:
    """Bytes of one part of a file of `size` bytes: whole MiB, and at most 10,000 parts."""
    return max(PART_BYTES, -(-size // (MOST_PARTS * 2**20)) * 2**20)


class Buffers:
    """Memory for the parts and small files that are being sent. Reused: with a new allocation for each part, as many again
    would wait in the allocator's pools of the threads.
    """

    def __init__(self) -> None:
        self._free: LifoQueue[bytearray] = LifoQueue()
        for _ in range(MEMORY_BYTES // PART_BYTES):
            self._free.put(bytearray())

    @contextmanager
    def reading(self, file: BinaryIO, length: int) -> Iterator[memoryview]:
        """The next `length` bytes of a file. Waits while all buffers are in use.

        Raises:
            ChangedError: the file has become shorter.
        """
        buffer = self._free.get()
        try:
            if len(buffer) < length:
                buffer = bytearray(max(length, PART_BYTES))
            content = memoryview(buffer)[:length]
            fill(content, file)
            yield content
        finally:
            self._free.put(buffer if len(buffer) <= PART_BYTES else bytearray())


@dataclass
class Uploader:
    """Sends files into a bucket."""

    bucket: Bucket
    pace: Pace
    _buffers: Buffers = field(default_factory=Buffers)

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes) -> list[Transferred]:
        """See `Store.upload`; keys are those of the bucket."""
        stop = threading.Event()
        return in_parallel(lambda item: self._file(*item, on_bytes, stop), files, stop)

    def _file(self, path: Path, key: str, on_bytes: OnBytes, stop: threading.Event) -> Transferred:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            size = before.st_size
            send = self._whole if size <= PART_BYTES else self._in_parts
            digest = send(file, key, size, on_bytes, stop)
            after = os.fstat(file.fileno())
        if (size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ChangedError(path.name)
        return Transferred(key, size, digest)

    def _whole(self, file: BinaryIO, key: str, size: int, on_bytes: OnBytes, stop: threading.Event) -> str:
        with self._buffers.reading(file, size) as content:
            self.bucket.request("put_object", lambda transport: transport.put(key, content, {}, self.pace), stop, creates=True)
            digest = sha256(content).hexdigest()
        on_bytes(size)
        return digest

    def _in_parts(self, file: BinaryIO, key: str, size: int, on_bytes: OnBytes, stop: threading.Event) -> str:
        for _ in range(UPLOAD_TRIES):
            upload = MultipartUpload.opened(self.bucket, key)
            try:
                digest, parts = self._send_parts(upload, file, size, on_bytes, stop)
                upload.complete(parts)
            except MissingError:
                file.seek(0)
                on_bytes = ignore  # these bytes are already counted
            else:
                return digest
        raise StoreError(
            f"{self.bucket.url}: {key}: its upload was aborted {UPLOAD_TRIES} times by another client: "
            "make sure that only one process writes there, then run again"
        )

    def _send_parts(
        self, upload: MultipartUpload, file: BinaryIO, size: int, on_bytes: OnBytes, stop: threading.Event
    ) -> tuple[str, list[Part]]:
        """Send the parts; returns the SHA-256 of the whole file, and the parts."""
        length, digest, reading, numbers = part_size(size), sha256(), threading.Lock(), count(1)

        def send(_: int) -> Part:
            with ExitStack() as held:
                with reading:  # the first thread to get here reads the next part
                    if stop.is_set():
                        raise StoppedError
                    number = next(numbers)
                    content = held.enter_context(self._buffers.reading(file, min(length, size - file.tell())))
                    digest.update(content)
                part = upload.send(number, content, self.pace, stop)
                on_bytes(len(content))
                return part

        at_once = min(AT_ONCE, max(1, MEMORY_BYTES // length))
        parts = in_parallel(send, range(-(-size // length)), threading.Event(), at_once)
        return digest.hexdigest(), sorted(parts, key=lambda part: part["PartNumber"])


@dataclass(frozen=True)
class MultipartUpload:
    """An uncompleted upload of one object."""

    bucket: Bucket
    key: str
    upload: str
    """The store's id of the upload."""
    present: dict[int, Part] = field(default_factory=dict)
    """Parts that the store already has, by number, as it lists them."""

    @classmethod
    def opened(cls, bucket: Bucket, key: str) -> Self:
        """The newest uncompleted upload of this key, or a new one."""
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
        return cls(bucket, key, str(bucket.call("create_multipart_upload", Key=key, ChecksumAlgorithm="CRC32")["UploadId"]))

    def send(self, number: int, content: Content, pace: Pace, stop: threading.Event) -> Part:
        """Send a part, unless the store has the same one.

        Raises:
            MissingError: the upload was completed or aborted by another client.
        """
        part = {"PartNumber": number, "ChecksumCRC32": checksum(content)}
        present = self.present.get(number, {})
        same = present.get("ChecksumCRC32") or present.get("ETag", "").strip('"')  # MD5 where the store lists no checksums
        if present.get("Size") == len(content) and (same == part["ChecksumCRC32"] or same == _md5(content)):
            return {**part, "ETag": present["ETag"]}
        query = {"partNumber": str(number), "uploadId": self.upload}
        etag = self.bucket.request("upload_part", lambda transport: transport.put(self.key, content, query, pace), stop)
        return {**part, "ETag": etag}

    def complete(self, parts: list[Part]) -> None:
        """Create the object from the parts.

        Raises:
            MissingError: the upload is gone, and the object does not consist of these parts.
        """
        try:
            self.bucket.call("complete_multipart_upload", Key=self.key, UploadId=self.upload, MultipartUpload={"Parts": parts})
        except MissingError:
            # An earlier try may have succeeded although its answer was lost.
            if self.bucket.call("head_object", Key=self.key)["ETag"].strip('"') != _etag(parts):
                raise


def _etag(parts: list[Part]) -> str | None:
    """The ETag of the object that the parts form: the MD5 of their MD5s; None if their ETags are not MD5s."""
    try:
        digests = b"".join(bytes.fromhex(part["ETag"].strip('"')) for part in parts)
    except ValueError:
        return None
    return f"{_md5(digests)}-{len(parts)}"


def _md5(content: Content) -> str:
    return md5(content, usedforsecurity=False).hexdigest()


def fill(buffer: memoryview, file: BinaryIO) -> None:
    """Fill the buffer with the next bytes of a file.

    Raises:
        ChangedError: the file has become shorter.
    """
    if file.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
        raise ChangedError(Path(file.name).name)


def ignore(_: int) -> None:
    """An `OnBytes` that counts nothing."""
