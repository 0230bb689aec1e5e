"""Objects to files: ranges in parallel, verified before the file has its name, gone on with after an interruption."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import sha256
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Protocol

from deepicd.artifacts.store.base import DamagedError, OnBytes, Transferred
from deepicd.artifacts.store.folder import check, local_errors
from deepicd.artifacts.store.s3.buffers import PART_BYTES, Buffers
from deepicd.artifacts.store.s3.client import Bucket, MissingError, StoppedError
from deepicd.artifacts.store.s3.connection import PIECE_BYTES
from deepicd.artifacts.store.s3.crew import copy_all
from deepicd.artifacts.store.s3.upload import read_exactly
from deepicd.artifacts.store.s3.wire import WrongLengthError
from deepicd.errors import UserError

FILES_AT_ONCE = 8
RANGES_AT_ONCE = 8
RANGE_BYTES = 16 * 2**20
"""Bytes asked for at once: ranges of 8 MiB cost the server a fifth more."""
RANGES_AHEAD = 16
"""Ranges of a file that are asked for before the oldest of them is hashed: what waits for that should be in memory still."""
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
        note, chosen = on_bytes or _ignore, list(files)
        for folder in {path.parent for _, path, _ in chosen}:
            with local_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        copy_all(lambda item, stop: self._file(*item, note, stop), chosen, FILES_AT_ONCE)

    def _file(self, key: str, path: Path, expected: Transferred, on_bytes: OnBytes, stop: threading.Event) -> None:
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
            _request(key, expected, lambda: self.bucket.get(key, buffer, stop))
            check(key, len(buffer), sha256(buffer).hexdigest(), expected)
            with local_errors(partial):
                file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                try:
                    write_at(file, buffer, 0)
                finally:
                    os.close(file)
        finally:
            self.buffers.give(buffer)

    def _large(self, key: str, partial: Path, expected: Transferred, on_bytes: OnBytes, stop: threading.Event) -> None:
        """Fill `partial` by ranges, each written while it arrives, and hashed in its turn by what the file has then."""
        with local_errors(partial), FileIO(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
            present = written_from_start(file.fileno(), expected.size)
            file.truncate(present)
            broken = threading.Event()
            writing = threading.Lock()  # the kernel lets one thread write to a file; the others would spin

            def fetch(start: int) -> None:
                def write(piece: memoryview, offset: int) -> None:
                    if broken.is_set() or stop.is_set():
                        raise StoppedError
                    with writing, local_errors(partial):
                        write_at(file.fileno(), piece, start + offset)

                size = min(RANGE_BYTES, expected.size - start)
                _request(key, expected, lambda: self.bucket.get_range(key, start, size, write, stop))

            missing = iter(range(present, expected.size, RANGE_BYTES))
            asked: deque[Future[None]] = deque()
            digest = sha256()
            try:
                for start in range(0, expected.size, RANGE_BYTES):
                    asked.extend(self._ranges.submit(fetch, each) for each in islice(missing, RANGES_AHEAD - len(asked)))
                    if start >= present:
                        asked[0].result()
                        asked.popleft()
                    for count in _hashed(file, digest, min(RANGE_BYTES, expected.size - start)):
                        on_bytes(count)
            finally:
                broken.set()
                for future in asked:
                    future.cancel()
                wait(asked)
        check(key, expected.size, digest.hexdigest(), expected)


def _request(key: str, expected: Transferred, request: Callable[[], int]) -> None:
    """Ask for an object, or bytes of it; `request` returns the size of the whole.

    Raises:
        DamagedError: it is missing, or has another size.
    """
    try:
        size = request()
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


def _hashed(file: FileIO, digest: Hash, size: int) -> Iterator[int]:
    """The next bytes of a file go into the digest, in pieces; how many each time."""
    buffer = memoryview(bytearray(PIECE_BYTES))
    for start in range(0, size, PIECE_BYTES):
        piece = buffer[: min(PIECE_BYTES, size - start)]
        read_exactly(file, piece)
        digest.update(piece)
        yield len(piece)


def written_from_start(file: int, most: int) -> int:
    """Bytes of whole ranges before the first hole of a file, at most `most`.

    Where the file system keeps no holes, or a crash has lost what was written, it may be too much: the digest tells.
    """
    end = os.fstat(file).st_size
    hole = os.lseek(file, 0, os.SEEK_HOLE) if end else 0
    os.lseek(file, 0, os.SEEK_SET)
    return min(hole, end, most) // RANGE_BYTES * RANGE_BYTES


def write_at(file: int, content: memoryview, start: int) -> None:
    """Write all at an offset of a file."""
    while content:
        count = os.pwrite(file, content, start)
        content, start = content[count:], start + count


def _ignore(count: int) -> None:
    pass
