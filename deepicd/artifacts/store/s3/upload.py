"""Files to a bucket: each read once, hashed and sent in the same pass, with memory bounded however large they are."""

from __future__ import annotations

import base64
import os
import threading
import zlib
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import sha256
from io import FileIO
from pathlib import Path

from deepicd.artifacts.store.base import ChangedError, OnBytes, Transferred
from deepicd.artifacts.store.s3.buffers import PART_BYTES, Buffers
from deepicd.artifacts.store.s3.client import Bucket, MissingError, StoppedError
from deepicd.artifacts.store.s3.connection import Pace
from deepicd.artifacts.store.s3.crew import copy_all, raise_failure
from deepicd.artifacts.store.s3.multipart import CHECKSUM, MultipartUpload, Part
from deepicd.artifacts.store.s3.rate import RateLimit
from deepicd.errors import StoreError

MOST_PARTS = 10_000
"""The S3 limit of one multipart upload."""
FILES_AT_ONCE = 8
PARTS_AT_ONCE = 8
BEGUN_ANEW = 3
"""Times that a file is sent, when somebody else ends or gives up its upload meanwhile."""


def part_size(size: int) -> int:
    """Bytes of one part of a file of `size` bytes: whole MiB, and at most 10,000 parts."""
    mib = 2**20
    return max(PART_BYTES, -(-size // (MOST_PARTS * mib)) * mib)


@dataclass
class Uploader:
    """Sends files into a bucket. `encryption` are the arguments of server-side encryption for a new object."""

    bucket: Bucket
    encryption: dict[str, str]
    limit: RateLimit
    buffers: Buffers
    _parts: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(PARTS_AT_ONCE, "part"))

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes | None) -> list[Transferred]:
        """See `Store.upload`; keys are those of the bucket."""
        note = on_bytes or _ignore
        return copy_all(lambda item, stop: self._file(*item, note, stop), files, FILES_AT_ONCE)

    def _file(self, path: Path, key: str, on_bytes: OnBytes, stop: threading.Event) -> Transferred:
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            size = before.st_size
            send = self._whole if size <= PART_BYTES else self._in_parts
            digest = send(file, key, size, on_bytes, stop)
            after = os.fstat(file.fileno())
        if (size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ChangedError(path.name)
        return Transferred(key, size, digest)

    def _whole(self, file: FileIO, key: str, size: int, on_bytes: OnBytes, stop: threading.Event) -> str:
        buffer = self.buffers.take(size)
        try:
            read_exactly(file, buffer)
            headers = {**self._headers, CHECKSUM: crc32(buffer)}
            self.bucket.put(key, buffer, headers=headers, pace=self._pace, stop=stop)
            digest = sha256(buffer).hexdigest()
        finally:
            self.buffers.give(buffer)
        on_bytes(size)
        return digest

    def _in_parts(self, file: FileIO, key: str, size: int, on_bytes: OnBytes, stop: threading.Event) -> str:
        upload = MultipartUpload.resumed(self.bucket, key) or MultipartUpload.begun(self.bucket, key, self.encryption)
        tries = 0
        while True:
            tries += 1
            try:
                digest, parts = self._send_parts(upload, file, size, on_bytes, stop)
                upload.complete(parts)
            except MissingError:
                if tries == BEGUN_ANEW:
                    raise StoreError(
                        f"{self.bucket.url}: {key}: its upload was given up {tries} times by somebody else"
                    ) from None
                file.seek(0)
                on_bytes = _ignore  # these bytes were counted
                upload = MultipartUpload.begun(self.bucket, key, self.encryption)
            else:
                return digest

    def _send_parts(
        self, upload: MultipartUpload, file: FileIO, size: int, on_bytes: OnBytes, stop: threading.Event
    ) -> tuple[str, list[Part]]:
        """SHA-256 of the whole file, and the parts that the store has then."""
        digest = sha256()
        futures: list[Future[Part]] = []
        broken = threading.Event()

        def send(number: int, buffer: memoryview) -> Part:
            try:
                if broken.is_set():
                    raise StoppedError
                return upload.send(number, buffer, crc32(buffer), self._pace, stop, on_bytes)
            except BaseException:
                broken.set()
                raise
            finally:
                self.buffers.give(buffer)

        part = part_size(size)
        try:
            for number, start in enumerate(range(0, size, part), start=1):
                buffer = self.buffers.take(min(part, size - start))
                try:
                    if stop.is_set() or broken.is_set():
                        raise StoppedError
                    read_exactly(file, buffer)
                    digest.update(buffer)
                    future = self._parts.submit(send, number, buffer)
                except BaseException:
                    self.buffers.give(buffer)
                    raise
                futures.append(future)
            wait(futures)
            raise_failure(futures)
        except BaseException:
            broken.set()
            wait(futures)
            raise_failure(futures)
            raise
        return digest.hexdigest(), [future.result() for future in futures]

    @property
    def _pace(self) -> Pace | None:
        return self.limit.take if self.limit.is_limited else None

    @property
    def _headers(self) -> dict[str, str]:
        """`encryption` as headers."""
        names = {
            "ServerSideEncryption": "x-amz-server-side-encryption",
            "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
        }
        return {names[name]: value for name, value in self.encryption.items()}


def read_exactly(file: FileIO, into: memoryview) -> None:
    """Fill `into`.

    Raises:
        ChangedError: the file has become shorter.
    """
    filled = 0
    while filled < len(into):
        count = file.readinto(into[filled:])
        if not count:
            raise ChangedError(Path(str(file.name)).name)
        filled += count


def crc32(content: bytes | memoryview) -> str:
    """The checksum in the form that S3 wants: base64 of four bytes, big-endian. The server compares it with what arrived."""
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


def _ignore(count: int) -> None:
    pass
