"""Objects to files: ranges in parallel, verified before the file has its name, gone on with after an interruption."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from deepicd.artifacts.store.base import DamagedError, OnBytes, Transferred
from deepicd.artifacts.store.folder import check, local_errors
from deepicd.artifacts.store.s3.client import Bucket, MissingError
from deepicd.errors import UserError

RANGE_BYTES = 8 * 2**20
FILES_AT_ONCE = 4
RANGES_AT_ONCE = 6
RANGES_AHEAD = 10
"""Ranges of one file that are asked for before the first of them was hashed: bounds the memory."""


@dataclass
class Downloader:
    """Fetches objects of a bucket."""

    bucket: Bucket
    _ranges: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(RANGES_AT_ONCE, "range"))

    def download(self, files: Iterable[tuple[str, Path, Transferred]], on_bytes: OnBytes | None) -> None:
        """See `Store.download`; keys are those of the bucket."""
        with ThreadPoolExecutor(FILES_AT_ONCE, "file") as pool:
            futures = [
                pool.submit(self._file, key, path, expected, on_bytes or (lambda _: None)) for key, path, expected in files
            ]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    def _file(self, key: str, path: Path, expected: Transferred, on_bytes: OnBytes) -> None:
        with local_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{expected.sha256[:16]}.part")
        fetched = partial.with_suffix(".ranges")
        for last_try in (False, True):
            try:
                self._fetch(key, partial, fetched, expected, on_bytes)
            except DamagedError:
                partial.unlink(missing_ok=True)
                fetched.unlink(missing_ok=True)
                # What an interrupted download left, or the network, may be at fault: once more from the start.
                if last_try:
                    raise
            else:
                break
        with local_errors(path):
            partial.replace(path)
            fetched.unlink(missing_ok=True)

    def _fetch(self, key: str, partial: Path, fetched: Path, expected: Transferred, on_bytes: OnBytes) -> None:
        """Fill `partial`; `fetched` has one byte for each range that is in it."""
        digest = sha256()
        count = max(1, -(-expected.size // RANGE_BYTES))
        with local_errors(partial):
            file = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
            marks = os.open(fetched, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            with local_errors(partial):
                os.ftruncate(file, expected.size)
                os.ftruncate(marks, count)
                present = os.pread(marks, count, 0)
            waiting: list[Future[bytes]] = []
            for number in range(count + RANGES_AHEAD):
                if number < count:
                    waiting.append(
                        self._ranges.submit(self._range, key, number, expected, file, marks, bool(present[number]), on_bytes)
                    )
                if number >= RANGES_AHEAD or number >= count:
                    if not waiting:
                        break
                    digest.update(waiting.pop(0).result())
        finally:
            for future in locals().get("waiting", []):
                future.cancel()
                if not future.cancelled():
                    future.exception()
            os.close(file)
            os.close(marks)
        check(key, expected.size, digest.hexdigest(), expected)

    def _range(
        self, key: str, number: int, expected: Transferred, file: int, marks: int, present: bool, on_bytes: OnBytes
    ) -> bytes:
        start = number * RANGE_BYTES
        length = min(RANGE_BYTES, expected.size - start)
        if length == 0:
            content = self._get(key, None, 0)
            if content:
                raise DamagedError(f"{key}: {len(content)} bytes instead of 0")
            return content
        if present:
            content = os.pread(file, length, start)
        else:
            content = self._get(key, f"bytes={start}-{start + length - 1}", expected.size)
            if len(content) != length:
                raise DamagedError(f"{key}: {start + len(content)} bytes instead of {expected.size}")
            with local_errors(Path(key)):
                view, at = memoryview(content), start
                while view:
                    written = os.pwrite(file, view, at)
                    view, at = view[written:], at + written
                os.pwrite(marks, b"\1", number)
        on_bytes(length)
        return content

    def _get(self, key: str, byte_range: str | None, size: int) -> bytes:
        try:
            answer = self.bucket.call("get_object", Key=key, **({"Range": byte_range} if byte_range else {}))
        except MissingError:
            raise DamagedError(f"{key}: is missing") from None
        except UserError as error:
            if "InvalidRange" in str(error):
                raise DamagedError(f"{key}: is shorter than its manifest says") from None
            raise
        total = str(answer.get("ContentRange", "")).rpartition("/")[2]
        if total.isdigit() and int(total) != size:
            raise DamagedError(f"{key}: {total} bytes instead of {size}")
        content: bytes = answer["Body"]
        return content
