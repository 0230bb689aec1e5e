"""Objects to files: ranges in parallel, verified before the file has its name, gone on with after an interruption."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Protocol

from deepicd.artifacts.store.base import DamagedError, OnBytes, Transferred
from deepicd.artifacts.store.folder import check, local_errors
from deepicd.artifacts.store.s3.buffers import PART_BYTES, Buffers
from deepicd.artifacts.store.s3.client import Bucket, MissingError, StoppedError
from deepicd.artifacts.store.s3.crew import copy_all
from deepicd.artifacts.store.s3.wire import WrongLengthError
from deepicd.errors import UserError

FILES_AT_ONCE = 8
RANGES_AT_ONCE = 8
WRITE_BYTES = 2**18
"""Written at once: writes of whole ranges took the kernel three times as long."""
SMALL_TRIES, LARGE_TRIES = 3, 2
"""Downloads of an object that has another digest each time, before it is damaged."""


class Hash(Protocol):
    """What hashlib makes."""

    def update(self, content: memoryview, /) -> None:
        """Go on with these bytes."""


@dataclass
class Downloader:
    """Fetches objects of a bucket."""

    bucket: Bucket
    buffers: Buffers
    _ranges: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(RANGES_AT_ONCE, "range"))

    def download(self, files: Iterable[tuple[str, Path, Transferred]], on_bytes: OnBytes | None) -> None:
        """See `Store.download`; keys are those of the bucket."""
        note = on_bytes or _ignore
        copy_all(lambda item, stop: self._file(*item, note, stop), files, FILES_AT_ONCE)

    def _file(self, key: str, path: Path, expected: Transferred, on_bytes: OnBytes, stop: threading.Event) -> None:
        with local_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{expected.sha256[:16]}.part")
        is_small = expected.size <= PART_BYTES
        for more in reversed(range(SMALL_TRIES if is_small else LARGE_TRIES)):
            try:
                if is_small:
                    self._small(key, partial, expected, stop)
                    on_bytes(expected.size)
                else:
                    self._large(key, partial, expected, on_bytes, stop)
            except DamagedError:
                partial.unlink(missing_ok=True)
                # What an interrupted download left, or the network, may be at fault: again from the start.
                if not more:
                    raise
                on_bytes = on_bytes if is_small else _ignore  # these bytes were counted
            else:
                break
        with local_errors(path):
            partial.replace(path)

    def _small(self, key: str, partial: Path, expected: Transferred, stop: threading.Event) -> None:
        buffer = self.buffers.take(expected.size)
        try:
            self._get(key, 0, buffer, expected, stop)
            check(key, len(buffer), sha256(buffer).hexdigest(), expected)
            with local_errors(partial), partial.open("wb", buffering=0) as file:
                write_at(file.fileno(), buffer, 0)
        finally:
            self.buffers.give(buffer)

    def _large(self, key: str, partial: Path, expected: Transferred, on_bytes: OnBytes, stop: threading.Event) -> None:
        """Fill `partial` in order, hashed in the same pass: what an interruption leaves is the beginning of the object.

        One thread writes: several that write to one file spend more time on its lock than on the bytes.
        """
        digest = sha256()
        waiting: deque[tuple[Future[None], int, memoryview]] = deque()
        broken = threading.Event()

        def fetch(start: int, buffer: memoryview) -> None:
            if broken.is_set():
                raise StoppedError
            self._get(key, start, buffer, expected, stop)

        def write_oldest() -> None:
            future, start, buffer = waiting[0]
            future.result()
            digest.update(buffer)
            write_at(file.fileno(), buffer, start)
            waiting.popleft()
            self.buffers.give(buffer)
            on_bytes(len(buffer))

        with local_errors(partial), FileIO(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
            present = self._hash_present(file, digest, expected.size, on_bytes)
            try:
                for start in range(present, expected.size, PART_BYTES):
                    size = min(PART_BYTES, expected.size - start)
                    # Who holds buffers must not wait for another one: the oldest is written and given back first.
                    while (buffer := self.buffers.take_now(size)) is None and waiting:
                        write_oldest()
                    buffer = buffer if buffer is not None else self.buffers.take(size)
                    waiting.append((self._ranges.submit(fetch, start, buffer), start, buffer))
                while waiting:
                    write_oldest()
            finally:
                broken.set()
                wait([future for future, _, _ in waiting])
                for _, _, buffer in waiting:
                    self.buffers.give(buffer)
        check(key, expected.size, digest.hexdigest(), expected)

    def _hash_present(self, file: FileIO, digest: Hash, size: int, on_bytes: OnBytes) -> int:
        """Bytes that an interrupted download has left, at most `size`; they go into the digest."""
        present = min(os.fstat(file.fileno()).st_size, size)
        file.truncate(present)
        buffer = self.buffers.take(PART_BYTES)
        try:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                on_bytes(count)
        finally:
            self.buffers.give(buffer)
        return present

    def _get(self, key: str, start: int, into: memoryview, expected: Transferred, stop: threading.Event) -> None:
        """Fill `into` from `start` on.

        Raises:
            DamagedError: the object is missing, or has another size.
        """
        try:
            size = self.bucket.get(key, start, into, whole=len(into) == expected.size, stop=stop)
        except MissingError:
            raise DamagedError(f"{key}: is missing") from None
        except WrongLengthError as error:
            size = int(error.args[0])
        except UserError as error:
            if "InvalidRange" not in str(error) and "(416)" not in str(error):
                raise
            raise DamagedError(f"{key}: is shorter than {expected.size} bytes") from None
        if size != expected.size:
            raise DamagedError(f"{key}: {size} bytes instead of {expected.size}")


def write_at(file: int, content: memoryview, start: int) -> None:
    """Write all at an offset of a file."""
    while content:
        count = os.pwrite(file, content[:WRITE_BYTES], start)
        content, start = content[count:], start + count


def _ignore(count: int) -> None:
    pass
