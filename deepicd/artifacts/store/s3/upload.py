"""Files to a bucket: each read once, hashed and sent in the same pass, with memory bounded however large they are."""

from __future__ import annotations

import base64
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import md5, sha256
from pathlib import Path
from typing import IO, Any

from deepicd.artifacts.store.base import ChangedError, OnBytes, Transferred
from deepicd.artifacts.store.s3.client import Bucket, MissingError

PART_BYTES = 8 * 2**20
MOST_PARTS = 10_000
"""The S3 limit of one multipart upload."""
IN_FLIGHT_BYTES = 96 * 2**20
"""Bytes of parts that were read and are not yet durable, over all files."""
FILES_AT_ONCE = 8
PARTS_AT_ONCE = 6


class RateLimit:
    """Delays callers so that no more than so many bytes a second pass; None lets all pass."""

    def __init__(self, bytes_per_second: int | None) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def take(self, count: int) -> None:
        """Return when `count` bytes may be sent."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + count / self._rate
        time.sleep(max(0.0, start - now))


class Budget:
    """Blocks readers while too many bytes are in flight. A part larger than the whole budget passes alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._change = threading.Condition()

    def take(self, count: int) -> None:
        """Return when there is room for `count` more bytes."""
        with self._change:
            self._change.wait_for(lambda: self._used == 0 or self._used + count <= self._most)
            self._used += count

    def give(self, count: int) -> None:
        """Bytes are no longer in flight."""
        with self._change:
            self._used -= count
            self._change.notify_all()


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
    _parts: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(PARTS_AT_ONCE, "part"))
    _budget: Budget = field(default_factory=lambda: Budget(IN_FLIGHT_BYTES))

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes | None) -> list[Transferred]:
        """See `Store.upload`; keys are those of the bucket."""
        stop = threading.Event()
        with ThreadPoolExecutor(FILES_AT_ONCE, "file") as pool:
            futures = [pool.submit(self._file, path, key, on_bytes or (lambda _: None), stop) for path, key in files]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                # After a failure, or Ctrl-C: the other files are not gone on with.
                if any(not future.done() for future in futures):
                    stop.set()
                    for future in futures:
                        future.cancel()
        failures = [failure for future in futures if not future.cancelled() and (failure := future.exception())]
        for failure in failures:
            if not isinstance(failure, _StoppedError):
                raise failure
        return [future.result() for future in futures]

    def _file(self, path: Path, key: str, on_bytes: OnBytes, stop: threading.Event) -> Transferred:
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            size = before.st_size
            if size <= part_size(size):
                digest = self._whole(file, key, size, on_bytes, stop)
            else:
                digest = _Multipart(self, key, size).send(file, on_bytes, stop)
            after = os.fstat(file.fileno())
        if (size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ChangedError(path.name)
        return Transferred(key, size, digest)

    def _whole(self, file: IO[bytes], key: str, size: int, on_bytes: OnBytes, stop: threading.Event) -> str:
        self._budget.take(size)
        try:
            content = read_exactly(file, size)
            _check_stop(stop)
            self.limit.take(size)
            self.bucket.call("put_object", Key=key, Body=content, ChecksumCRC32=crc32(content), **self.encryption)
        finally:
            self._budget.give(size)
        on_bytes(size)
        return sha256(content).hexdigest()

    def submit(self, size: int, act: Callable[[], Any]) -> Future[Any]:
        """Act in a part's thread; the part's bytes, taken from the budget before, are given back."""

        def acting() -> Any:
            try:
                return act()
            finally:
                self._budget.give(size)

        return self._parts.submit(acting)

    def take(self, size: int) -> None:
        """Wait until a part of so many bytes may be read."""
        self._budget.take(size)


class _Multipart:
    """One large file: parts that the store has of an earlier try are not sent again."""

    def __init__(self, uploader: Uploader, key: str, size: int) -> None:
        self._uploader = uploader
        self._call = uploader.bucket.call
        self._key = key
        self._size = size
        self._part = part_size(size)

    def send(self, file: IO[bytes], on_bytes: OnBytes, stop: threading.Event) -> str:
        """SHA-256 of the whole file, once the object exists."""
        upload, present = self._unfinished() or (self._create(), {})
        digest = sha256()
        futures: list[Future[dict[str, Any]]] = []
        try:
            for number, start in enumerate(range(0, self._size, self._part), start=1):
                count = min(self._part, self._size - start)
                _check_stop(stop)
                for future in futures:
                    if future.done():
                        future.result()
                self._uploader.take(count)
                try:
                    content = read_exactly(file, count)
                    digest.update(content)
                except BaseException:
                    self._uploader.submit(count, lambda: None)
                    raise
                futures.append(
                    self._uploader.submit(count, self._sending(upload, number, content, present.get(number), on_bytes))
                )
                del content
            parts = [future.result() for future in futures]
        except BaseException:
            stop.set()
            for future in futures:
                # A part that runs ends by itself; one that waits has still to give its bytes back.
                if not future.cancelled():
                    future.exception()
            raise
        try:
            self._call("complete_multipart_upload", Key=self._key, UploadId=upload, MultipartUpload={"Parts": parts})
        except MissingError:
            # The answer to an earlier request was lost, or the upload was aborted meanwhile.
            if self._size_in_store() != self._size:
                file.seek(0)
                return self.send(file, lambda _: None, stop)
        return digest.hexdigest()

    def _sending(
        self, upload: str, number: int, content: bytes, present: dict[str, Any] | None, on_bytes: OnBytes
    ) -> Callable[[], dict[str, Any]]:
        def act() -> dict[str, Any]:
            checksum = crc32(content)
            if present is not None and _is_same(present, content, checksum):
                on_bytes(len(content))
                return {"PartNumber": number, "ETag": present["ETag"], "ChecksumCRC32": checksum}
            self._uploader.limit.take(len(content))
            answer = self._call(
                "upload_part", Key=self._key, UploadId=upload, PartNumber=number, Body=content, ChecksumCRC32=checksum
            )
            on_bytes(len(content))
            return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": checksum}

        return act

    def _create(self) -> str:
        answer = self._call("create_multipart_upload", Key=self._key, ChecksumAlgorithm="CRC32", **self._uploader.encryption)
        return str(answer["UploadId"])

    def _unfinished(self) -> tuple[str, dict[int, dict[str, Any]]] | None:
        """The newest upload of this key that was begun and not completed, and its parts by number."""
        uploads = [
            upload
            for upload in self._call("list_multipart_uploads", Prefix=self._key).get("Uploads", [])
            if upload["Key"] == self._key
        ]
        for upload in sorted(uploads, key=lambda item: item["Initiated"], reverse=True):
            try:
                return str(upload["UploadId"]), self._present(str(upload["UploadId"]))
            except MissingError:
                continue
        return None

    def _present(self, upload: str) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        marker = 0
        while True:
            answer = self._call("list_parts", Key=self._key, UploadId=upload, PartNumberMarker=marker)
            found |= {part["PartNumber"]: part for part in answer.get("Parts", [])}
            if not answer.get("IsTruncated"):
                return found
            marker = answer["NextPartNumberMarker"]

    def _size_in_store(self) -> int | None:
        try:
            return int(self._call("head_object", Key=self._key)["ContentLength"])
        except MissingError:
            return None


def read_exactly(file: IO[bytes], count: int) -> bytes:
    """Read `count` bytes.

    Raises:
        ChangedError: the file has become shorter.
    """
    content = file.read(count)
    while len(content) < count:
        more = file.read(count - len(content))
        if not more:
            raise ChangedError(str(file.name))
        content += more
    return content


def crc32(content: bytes) -> str:
    """The checksum in the form that S3 wants: base64 of four bytes, big-endian. The server compares it with what arrived."""
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


def _is_same(present: dict[str, Any], content: bytes, checksum: str) -> bool:
    """Whether a part in the store is this one, by its checksum, or by its MD5 where the store lists no checksums."""
    if present["Size"] != len(content):
        return False
    if "ChecksumCRC32" in present:
        return bool(present["ChecksumCRC32"] == checksum)
    return bool(present["ETag"].strip('"') == md5(content, usedforsecurity=False).hexdigest())


def _check_stop(stop: threading.Event) -> None:
    if stop.is_set():
        raise _StoppedError


class _StoppedError(Exception):
    """Another file failed."""
