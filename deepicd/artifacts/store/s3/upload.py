"""Files to a bucket: each is read once, hashed and sent in the same pass, with bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from deepicd.artifacts.store.base import ChangedError, OnBytes, Transferred
from deepicd.artifacts.store.s3.client import Bucket
from deepicd.artifacts.store.s3.error_codes import MissingError
from deepicd.artifacts.store.s3.multipart import MultipartUpload, Part
from deepicd.artifacts.store.s3.parallel import PART_BYTES, MemoryLimit, StoppedError, in_parallel
from deepicd.artifacts.store.s3.transport import Pace
from deepicd.errors import StoreError

MOST_PARTS = 10_000
"""The S3 limit of one multipart upload."""
FILES_AT_ONCE = 8
PARTS_AT_ONCE = 8
"""Parts of one file."""
UPLOAD_TRIES = 3
"""Multipart uploads of one file, when somebody else completes or aborts them."""
_ENCRYPTION_HEADERS = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}


def part_size(size: int) -> int:
    """Bytes of one part of a file of `size` bytes: whole MiB, and at most 10,000 parts."""
    mib = 2**20
    return max(PART_BYTES, -(-size // (MOST_PARTS * mib)) * mib)


@dataclass
class Uploader:
    """Sends files into a bucket. `encryption` are boto3's arguments of server-side encryption for a new object."""

    bucket: Bucket
    encryption: dict[str, str]
    pace: Pace
    _memory: MemoryLimit = field(default_factory=MemoryLimit)

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes) -> list[Transferred]:
        """See `Store.upload`; keys are those of the bucket."""
        stop = threading.Event()
        return in_parallel(lambda item: self._file(*item, on_bytes, stop), files, FILES_AT_ONCE, stop)

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
        headers = {_ENCRYPTION_HEADERS[name]: text for name, text in self.encryption.items()}
        with self._memory.held(size):
            content = read_exactly(file, size)
            body = memoryview(content)
            self.bucket.request("put_object", lambda transport: transport.put(key, body, {}, headers, self.pace), stop)
            digest = sha256(content).hexdigest()
        on_bytes(size)
        return digest

    def _in_parts(self, file: BinaryIO, key: str, size: int, on_bytes: OnBytes, stop: threading.Event) -> str:
        upload = MultipartUpload.resumed(self.bucket, key) or MultipartUpload.begun(self.bucket, key, self.encryption)
        for _ in range(UPLOAD_TRIES):
            try:
                digest, parts = self._send_parts(upload, file, size, on_bytes, stop)
                upload.complete(parts)
            except MissingError:
                file.seek(0)
                on_bytes = ignore  # these bytes were counted
                upload = MultipartUpload.begun(self.bucket, key, self.encryption)
            else:
                return digest
        raise StoreError(
            f"{self.bucket.url}: {key}: its upload was aborted {UPLOAD_TRIES} times by somebody else: "
            "see that only one process writes there, then run again"
        )

    def _send_parts(
        self, upload: MultipartUpload, file: BinaryIO, size: int, on_bytes: OnBytes, stop: threading.Event
    ) -> tuple[str, list[Part]]:
        """SHA-256 of the whole file, and the parts that the store has then."""
        length, digest, reading = part_size(size), sha256(), threading.Lock()
        numbers = iter(range(1, -(-size // length) + 1))

        def send(_: int) -> Part:
            with self._memory.held(length):
                with reading:  # whichever thread comes reads the next part
                    if stop.is_set():
                        raise StoppedError
                    number = next(numbers)
                    content = read_exactly(file, min(length, size - file.tell()))
                    digest.update(content)
                part = upload.send(number, content, self.pace, stop)
                on_bytes(len(content))
                return part

        parts = in_parallel(send, range(-(-size // length)), PARTS_AT_ONCE, threading.Event())
        return digest.hexdigest(), sorted(parts, key=lambda part: part["PartNumber"])


def read_exactly(file: BinaryIO, length: int) -> bytes:
    """The next bytes of a file.

    Raises:
        ChangedError: the file has become shorter.
    """
    content = file.read(length)
    if len(content) != length:
        raise ChangedError(Path(file.name).name)
    return content


def ignore(count: int) -> None:
    """An `OnBytes` that counts nothing."""
